//! What DescribeConfigs says about a topic and about a broker.
