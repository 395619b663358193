//! Joins the views into verdicts and findings; one finding rule a file below `rules`.
