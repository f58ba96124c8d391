//! The error codes of the protocol: every code that Kafka 4.3 knows, with its name and what a client may do about it.

/// What a well-behaved client does after a code: nothing, resend, or look at the metadata again and resend.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Remedy {
    /// Resending the same request cannot help.
    Final,
    /// The same request may be resent.
    Retry,
    /// The same request may be resent after the topic metadata was refreshed.
    RetryRefreshed,
}

macro_rules! error_codes {
    ($($variant:ident = $code:literal, $name:literal, $remedy:ident;)*) => {
        /// An error code as it stands in a response.
        ///
        /// The variants carry Kafka's names in camel case; [`ErrorCode::name`] gives them as Kafka writes them.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[repr(i16)]
        #[expect(missing_docs, reason = "a variant says what its Kafka name says")]
        pub enum ErrorCode {
            $($variant = $code,)*
        }

        impl ErrorCode {
            /// Every code, in ascending order.
            pub const ALL: &[Self] = &[$(Self::$variant,)*];

            /// The code with this number. A number that nobody has given a meaning is
            /// [`ErrorCode::UnknownServerError`], as in Kafka's clients.
            #[must_use]
            pub const fn from_i16(code: i16) -> Self {
                match code {
                    $($code => Self::$variant,)*
                    _ => Self::UnknownServerError,
                }
            }

            /// Kafka's name of the code, such as `NOT_LEADER_OR_FOLLOWER`.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self {
                    $(Self::$variant => $name,)*
                }
            }

            const fn remedy(self) -> Remedy {
                match self {
                    $(Self::$variant => Remedy::$remedy,)*
                }
            }
        }
    };
}

impl ErrorCode {
    /// The number that stands in the response.
    #[must_use]
    pub const fn as_i16(self) -> i16 {
        self as i16
    }

    /// Whether a client may send the same request again.
    #[must_use]
    pub const fn is_retriable(self) -> bool {
        !matches!(self.remedy(), Remedy::Final)
    }

    /// Whether a client looks at the topic metadata again before it resends.
    #[must_use]
    pub const fn refreshes_metadata(self) -> bool {
        matches!(self.remedy(), Remedy::RetryRefreshed)
    }

    /// Whether this is an error at all: anything but [`ErrorCode::None`].
    #[must_use]
    pub const fn is_error(self) -> bool {
        !matches!(self, Self::None)
    }
}

impl core::fmt::Display for ErrorCode {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str(self.name())
    }
}

impl From<ErrorCode> for i16 {
    fn from(code: ErrorCode) -> Self {
        code.as_i16()
    }
}

error_codes! {
    UnknownServerError = -1, "UNKNOWN_SERVER_ERROR", Final;
    None = 0, "NONE", Final;
    OffsetOutOfRange = 1, "OFFSET_OUT_OF_RANGE", Final;
    CorruptMessage = 2, "CORRUPT_MESSAGE", Retry;
    UnknownTopicOrPartition = 3, "UNKNOWN_TOPIC_OR_PARTITION", RetryRefreshed;
    InvalidFetchSize = 4, "INVALID_FETCH_SIZE", Final;
    LeaderNotAvailable = 5, "LEADER_NOT_AVAILABLE", RetryRefreshed;
    NotLeaderOrFollower = 6, "NOT_LEADER_OR_FOLLOWER", RetryRefreshed;
    RequestTimedOut = 7, "REQUEST_TIMED_OUT", Retry;
    BrokerNotAvailable = 8, "BROKER_NOT_AVAILABLE", Final;
    ReplicaNotAvailable = 9, "REPLICA_NOT_AVAILABLE", RetryRefreshed;
    MessageTooLarge = 10, "MESSAGE_TOO_LARGE", Final;
    StaleControllerEpoch = 11, "STALE_CONTROLLER_EPOCH", Final;
    OffsetMetadataTooLarge = 12, "OFFSET_METADATA_TOO_LARGE", Final;
    NetworkException = 13, "NETWORK_EXCEPTION", RetryRefreshed;
    CoordinatorLoadInProgress = 14, "COORDINATOR_LOAD_IN_PROGRESS", Retry;
    CoordinatorNotAvailable = 15, "COORDINATOR_NOT_AVAILABLE", Retry;
    NotCoordinator = 16, "NOT_COORDINATOR", Retry;
    InvalidTopic = 17, "INVALID_TOPIC_EXCEPTION", Final;
    RecordListTooLarge = 18, "RECORD_LIST_TOO_LARGE", Final;
    NotEnoughReplicas = 19, "NOT_ENOUGH_REPLICAS", Retry;
    NotEnoughReplicasAfterAppend = 20, "NOT_ENOUGH_REPLICAS_AFTER_APPEND", Retry;
    InvalidRequiredAcks = 21, "INVALID_REQUIRED_ACKS", Final;
    IllegalGeneration = 22, "ILLEGAL_GENERATION", Final;
    InconsistentGroupProtocol = 23, "INCONSISTENT_GROUP_PROTOCOL", Final;
    InvalidGroupId = 24, "INVALID_GROUP_ID", Final;
    UnknownMemberId = 25, "UNKNOWN_MEMBER_ID", Final;
    InvalidSessionTimeout = 26, "INVALID_SESSION_TIMEOUT", Final;
    RebalanceInProgress = 27, "REBALANCE_IN_PROGRESS", Final;
    InvalidCommitOffsetSize = 28, "INVALID_COMMIT_OFFSET_SIZE", Final;
    TopicAuthorizationFailed = 29, "TOPIC_AUTHORIZATION_FAILED", Final;
    GroupAuthorizationFailed = 30, "GROUP_AUTHORIZATION_FAILED", Final;
    ClusterAuthorizationFailed = 31, "CLUSTER_AUTHORIZATION_FAILED", Final;
    InvalidTimestamp = 32, "INVALID_TIMESTAMP", Final;
    UnsupportedSaslMechanism = 33, "UNSUPPORTED_SASL_MECHANISM", Final;
    IllegalSaslState = 34, "ILLEGAL_SASL_STATE", Final;
    UnsupportedVersion = 35, "UNSUPPORTED_VERSION", Final;
    TopicAlreadyExists = 36, "TOPIC_ALREADY_EXISTS", Final;
    InvalidPartitions = 37, "INVALID_PARTITIONS", Final;
    InvalidReplicationFactor = 38, "INVALID_REPLICATION_FACTOR", Final;
    InvalidReplicaAssignment = 39, "INVALID_REPLICA_ASSIGNMENT", Final;
    InvalidConfig = 40, "INVALID_CONFIG", Final;
    NotController = 41, "NOT_CONTROLLER", Retry;
    InvalidRequest = 42, "INVALID_REQUEST", Final;
    UnsupportedForMessageFormat = 43, "UNSUPPORTED_FOR_MESSAGE_FORMAT", Final;
    PolicyViolation = 44, "POLICY_VIOLATION", Final;
    OutOfOrderSequenceNumber = 45, "OUT_OF_ORDER_SEQUENCE_NUMBER", Final;
    DuplicateSequenceNumber = 46, "DUPLICATE_SEQUENCE_NUMBER", Final;
    InvalidProducerEpoch = 47, "INVALID_PRODUCER_EPOCH", Final;
    InvalidTxnState = 48, "INVALID_TXN_STATE", Final;
    InvalidProducerIdMapping = 49, "INVALID_PRODUCER_ID_MAPPING", Final;
    InvalidTransactionTimeout = 50, "INVALID_TRANSACTION_TIMEOUT", Final;
    ConcurrentTransactions = 51, "CONCURRENT_TRANSACTIONS", Retry;
    TransactionCoordinatorFenced = 52, "TRANSACTION_COORDINATOR_FENCED", Final;
    TransactionalIdAuthorizationFailed = 53, "TRANSACTIONAL_ID_AUTHORIZATION_FAILED", Final;
    SecurityDisabled = 54, "SECURITY_DISABLED", Final;
    OperationNotAttempted = 55, "OPERATION_NOT_ATTEMPTED", Final;
    KafkaStorageError = 56, "KAFKA_STORAGE_ERROR", RetryRefreshed;
    LogDirNotFound = 57, "LOG_DIR_NOT_FOUND", Final;
    SaslAuthenticationFailed = 58, "SASL_AUTHENTICATION_FAILED", Final;
    UnknownProducerId = 59, "UNKNOWN_PRODUCER_ID", Final;
    ReassignmentInProgress = 60, "REASSIGNMENT_IN_PROGRESS", Final;
    DelegationTokenAuthDisabled = 61, "DELEGATION_TOKEN_AUTH_DISABLED", Final;
    DelegationTokenNotFound = 62, "DELEGATION_TOKEN_NOT_FOUND", Final;
    DelegationTokenOwnerMismatch = 63, "DELEGATION_TOKEN_OWNER_MISMATCH", Final;
    DelegationTokenRequestNotAllowed = 64, "DELEGATION_TOKEN_REQUEST_NOT_ALLOWED", Final;
    DelegationTokenAuthorizationFailed = 65, "DELEGATION_TOKEN_AUTHORIZATION_FAILED", Final;
    DelegationTokenExpired = 66, "DELEGATION_TOKEN_EXPIRED", Final;
    InvalidPrincipalType = 67, "INVALID_PRINCIPAL_TYPE", Final;
    NonEmptyGroup = 68, "NON_EMPTY_GROUP", Final;
    GroupIdNotFound = 69, "GROUP_ID_NOT_FOUND", Final;
    FetchSessionIdNotFound = 70, "FETCH_SESSION_ID_NOT_FOUND", Retry;
    InvalidFetchSessionEpoch = 71, "INVALID_FETCH_SESSION_EPOCH", Retry;
    ListenerNotFound = 72, "LISTENER_NOT_FOUND", RetryRefreshed;
    TopicDeletionDisabled = 73, "TOPIC_DELETION_DISABLED", Final;
    FencedLeaderEpoch = 74, "FENCED_LEADER_EPOCH", RetryRefreshed;
    UnknownLeaderEpoch = 75, "UNKNOWN_LEADER_EPOCH", Retry;
    UnsupportedCompressionType = 76, "UNSUPPORTED_COMPRESSION_TYPE", Final;
    StaleBrokerEpoch = 77, "STALE_BROKER_EPOCH", Final;
    OffsetNotAvailable = 78, "OFFSET_NOT_AVAILABLE", Retry;
    MemberIdRequired = 79, "MEMBER_ID_REQUIRED", Final;
    PreferredLeaderNotAvailable = 80, "PREFERRED_LEADER_NOT_AVAILABLE", RetryRefreshed;
    GroupMaxSizeReached = 81, "GROUP_MAX_SIZE_REACHED", Final;
    FencedInstanceId = 82, "FENCED_INSTANCE_ID", Final;
    EligibleLeadersNotAvailable = 83, "ELIGIBLE_LEADERS_NOT_AVAILABLE", RetryRefreshed;
    ElectionNotNeeded = 84, "ELECTION_NOT_NEEDED", RetryRefreshed;
    NoReassignmentInProgress = 85, "NO_REASSIGNMENT_IN_PROGRESS", Final;
    GroupSubscribedToTopic = 86, "GROUP_SUBSCRIBED_TO_TOPIC", Final;
    InvalidRecord = 87, "INVALID_RECORD", Final;
    UnstableOffsetCommit = 88, "UNSTABLE_OFFSET_COMMIT", Retry;
    ThrottlingQuotaExceeded = 89, "THROTTLING_QUOTA_EXCEEDED", Retry;
    ProducerFenced = 90, "PRODUCER_FENCED", Final;
    ResourceNotFound = 91, "RESOURCE_NOT_FOUND", Final;
    DuplicateResource = 92, "DUPLICATE_RESOURCE", Final;
    UnacceptableCredential = 93, "UNACCEPTABLE_CREDENTIAL", Final;
    InconsistentVoterSet = 94, "INCONSISTENT_VOTER_SET", Final;
    InvalidUpdateVersion = 95, "INVALID_UPDATE_VERSION", Final;
    FeatureUpdateFailed = 96, "FEATURE_UPDATE_FAILED", Final;
    PrincipalDeserializationFailure = 97, "PRINCIPAL_DESERIALIZATION_FAILURE", Final;
    SnapshotNotFound = 98, "SNAPSHOT_NOT_FOUND", Final;
    PositionOutOfRange = 99, "POSITION_OUT_OF_RANGE", Final;
    UnknownTopicId = 100, "UNKNOWN_TOPIC_ID", RetryRefreshed;
    DuplicateBrokerRegistration = 101, "DUPLICATE_BROKER_REGISTRATION", Final;
    BrokerIdNotRegistered = 102, "BROKER_ID_NOT_REGISTERED", Final;
    InconsistentTopicId = 103, "INCONSISTENT_TOPIC_ID", RetryRefreshed;
    InconsistentClusterId = 104, "INCONSISTENT_CLUSTER_ID", Final;
    TransactionalIdNotFound = 105, "TRANSACTIONAL_ID_NOT_FOUND", Final;
    FetchSessionTopicIdError = 106, "FETCH_SESSION_TOPIC_ID_ERROR", Retry;
    IneligibleReplica = 107, "INELIGIBLE_REPLICA", Final;
    NewLeaderElected = 108, "NEW_LEADER_ELECTED", Final;
    OffsetMovedToTieredStorage = 109, "OFFSET_MOVED_TO_TIERED_STORAGE", Final;
    FencedMemberEpoch = 110, "FENCED_MEMBER_EPOCH", Final;
    UnreleasedInstanceId = 111, "UNRELEASED_INSTANCE_ID", Final;
    UnsupportedAssignor = 112, "UNSUPPORTED_ASSIGNOR", Final;
    StaleMemberEpoch = 113, "STALE_MEMBER_EPOCH", Final;
    MismatchedEndpointType = 114, "MISMATCHED_ENDPOINT_TYPE", Final;
    UnsupportedEndpointType = 115, "UNSUPPORTED_ENDPOINT_TYPE", Final;
    UnknownControllerId = 116, "UNKNOWN_CONTROLLER_ID", Final;
    UnknownSubscriptionId = 117, "UNKNOWN_SUBSCRIPTION_ID", Final;
    TelemetryTooLarge = 118, "TELEMETRY_TOO_LARGE", Final;
    InvalidRegistration = 119, "INVALID_REGISTRATION", Final;
    TransactionAbortable = 120, "TRANSACTION_ABORTABLE", Final;
    InvalidRecordState = 121, "INVALID_RECORD_STATE", Final;
    ShareSessionNotFound = 122, "SHARE_SESSION_NOT_FOUND", Retry;
    InvalidShareSessionEpoch = 123, "INVALID_SHARE_SESSION_EPOCH", Retry;
    FencedStateEpoch = 124, "FENCED_STATE_EPOCH", Final;
    InvalidVoterKey = 125, "INVALID_VOTER_KEY", Final;
    DuplicateVoter = 126, "DUPLICATE_VOTER", Final;
    VoterNotFound = 127, "VOTER_NOT_FOUND", Final;
    InvalidRegularExpression = 128, "INVALID_REGULAR_EXPRESSION", Final;
    RebootstrapRequired = 129, "REBOOTSTRAP_REQUIRED", Final;
    StreamsInvalidTopology = 130, "STREAMS_INVALID_TOPOLOGY", Final;
    StreamsInvalidTopologyEpoch = 131, "STREAMS_INVALID_TOPOLOGY_EPOCH", Final;
    StreamsTopologyFenced = 132, "STREAMS_TOPOLOGY_FENCED", Final;
    ShareSessionLimitReached = 133, "SHARE_SESSION_LIMIT_REACHED", Retry;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_code_is_its_own_number_and_name() {
        assert_eq!(ErrorCode::ALL.len(), 135);
        for (expected, code) in (-1..).zip(ErrorCode::ALL) {
            assert_eq!(code.as_i16(), expected);
            assert_eq!(ErrorCode::from_i16(expected), *code);
        }
    }

    #[test]
    fn a_number_without_a_meaning_is_an_unknown_server_error() {
        assert_eq!(ErrorCode::from_i16(-2), ErrorCode::UnknownServerError);
        assert_eq!(ErrorCode::from_i16(134), ErrorCode::UnknownServerError);
        assert_eq!(ErrorCode::from_i16(i16::MAX), ErrorCode::UnknownServerError);
    }

    #[test]
    fn stale_leaders_are_retried_after_a_refresh_and_bad_records_never() {
        assert!(ErrorCode::NotLeaderOrFollower.is_retriable());
        assert!(ErrorCode::NotLeaderOrFollower.refreshes_metadata());
        assert!(ErrorCode::CorruptMessage.is_retriable());
        assert!(!ErrorCode::CorruptMessage.refreshes_metadata());
        assert!(!ErrorCode::InvalidRecord.is_retriable());
        assert_eq!(ErrorCode::InvalidTopic.name(), "INVALID_TOPIC_EXCEPTION");
    }
}
