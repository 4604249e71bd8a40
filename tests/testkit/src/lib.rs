//! What tests share: a store in memory, a fake clock, a seeded generator.
