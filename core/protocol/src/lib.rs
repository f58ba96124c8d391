//! The words of Kafka.
