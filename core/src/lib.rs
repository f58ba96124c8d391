//! The rules of Kafka.
