//! One file an output format: a function of the report and a writer.
