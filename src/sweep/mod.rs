//! Asks every endpoint: pure pacing, rounds and accounting; drivers for TCP connect and UDP.
