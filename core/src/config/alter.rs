//! What IncrementalAlterConfigs and AlterConfigs would make of a resource's values.
