//! The Linux host: clock, randomness, files, locked memory.
