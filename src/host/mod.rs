//! The inside view: sockets of every network namespace and their owners, containers, text listings.
