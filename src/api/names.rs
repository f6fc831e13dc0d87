//! Labels, annotations, keys and paths that users, manifests and other programs see.

/// Name of the ConfigMap, of the injected volume, of the Lease and of the field manager.
pub const STELLAR_PEERS: &str = "stellar-peers";

/// Label of an application's name; `stellar-node` on what the operator makes and on our ConfigMap.
pub const LABEL_NAME: &str = "app.kubernetes.io/name";
/// Label of a component; `validator` on a validator's StatefulSet.
pub const LABEL_COMPONENT: &str = "app.kubernetes.io/component";
/// Label that ties a pod to its node.
pub const LABEL_INSTANCE: &str = "app.kubernetes.io/instance";
/// Label that tells who manages an object.
pub const LABEL_MANAGED_BY: &str = "app.kubernetes.io/managed-by";
/// Value of [`LABEL_NAME`] on a Stellar node's objects.
pub const NAME_STELLAR_NODE: &str = "stellar-node";
/// Value of [`LABEL_COMPONENT`] on a validator's StatefulSet.
pub const COMPONENT_VALIDATOR: &str = "validator";
/// Value of [`LABEL_COMPONENT`] on our ConfigMap.
pub const COMPONENT_PEER_DISCOVERY: &str = "peer-discovery";
/// Value of [`LABEL_MANAGED_BY`] on our ConfigMap; the origin document fixed it.
pub const MANAGED_BY: &str = "stellar-operator";
/// Label with the network's name.
pub const LABEL_NETWORK: &str = "stellar-network";
/// Label that tells a read pool from a validator.
pub const LABEL_ROLE: &str = "stellar.org/role";
/// Value of [`LABEL_ROLE`] on a read pool.
pub const ROLE_READ_REPLICA: &str = "read-replica";
/// Label by which the StatefulSet controller marks the revision of a pod.
pub const LABEL_REVISION: &str = "controller-revision-hash";

/// Label that opts a plain StatefulSet in (`enabled`) or anything out (`disabled`).
pub const INJECT: &str = "peers.stellar.org/inject";
/// Value of [`INJECT`] that opts in.
pub const INJECT_ENABLED: &str = "enabled";
/// Value of [`INJECT`] that opts out.
pub const INJECT_DISABLED: &str = "disabled";
/// Annotation with the peer port; on the pod template also what an admission adds.
pub const PORT: &str = "peers.stellar.org/port";
/// Annotation that names the core container.
pub const CONTAINER: &str = "peers.stellar.org/container";
/// Annotation that names the file that stellar-core reads, as a path in the core container.
pub const CONFIG_PATH: &str = "peers.stellar.org/config-path";
/// Annotation that says how the list is given to a validator.
pub const INJECT_MODE: &str = "peers.stellar.org/inject-mode";
/// Value of [`INJECT_MODE`] by which the list is mounted and stellar-core's configuration left alone.
pub const INJECT_MODE_MOUNT: &str = "mount";
/// Annotation on the pod template with the hash of the membership that the pod knows.
pub const MEMBERSHIP: &str = "peers.stellar.org/membership";
/// Annotation on the pod template with the time of our last restart, RFC 3339.
pub const RESTARTED_AT: &str = "peers.stellar.org/restarted-at";
/// Annotation on a StatefulSet: when its node was Ready for the first time, RFC 3339.
pub const JOINED_AT: &str = "peers.stellar.org/joined-at";
/// Annotation on a StatefulSet with the token of the turn under which it may be restarted; gone once it was.
pub const TURN: &str = "peers.stellar.org/turn";
/// What begins the annotation on the ConfigMap with the turn of a network, before the network's name.
pub const TURN_OF: &str = "peers.stellar.org/turn.";
/// Annotation that holds restarts back, on the ConfigMap, the StellarNode or the StatefulSet.
pub const PAUSED: &str = "peers.stellar.org/paused";
/// Annotation that allows restarts of a node whose ledger is on an emptyDir.
pub const ALLOW_EPHEMERAL: &str = "peers.stellar.org/allow-ephemeral";
/// Annotation on the ConfigMap: whom we restarted last and for what.
pub const RESTARTS: &str = "peers.stellar.org/restarts";
/// Annotation on the ConfigMap: validators that are gone and that quorum sets still name.
pub const DEPARTED: &str = "peers.stellar.org/departed";
/// Annotation on the ConfigMap: hashes that count as the present ones, since validators only left (`joins`).
pub const KEYS: &str = "peers.stellar.org/keys";
/// Annotation on the ConfigMap: the record was made anew, and who is a member is not certain yet.
pub const RECORD_LOST: &str = "peers.stellar.org/record-lost";

/// Key of the ConfigMap with one `address:port` a line.
pub const KEY_KNOWN_PEERS: &str = "KNOWN_PEERS";
/// Key of the ConfigMap with the time and the counts.
pub const KEY_METADATA: &str = "discovery_metadata";
/// Key of the ConfigMap with the record of the nodes.
pub const KEY_MEMBERS: &str = "members.json";

/// Where the ConfigMap is mounted in the core container.
pub const MOUNT_PATH: &str = "/etc/stellar-peers";
/// Name of the injected init container that merges the list into stellar-core's configuration.
pub const RENDER_CONTAINER: &str = "stellar-peers-render";
/// Name of the injected volume with the merged configuration.
pub const CONFIG_VOLUME: &str = "stellar-peers-config";
/// Where the operator mounts ConfigMap `<node>-config` in the core container.
pub const OPERATOR_CONFIG_DIR: &str = "/config";
/// The file that stellar-core reads there.
pub const CONFIG_FILE: &str = "stellar-core.cfg";
/// The peer port of stellar-core where nothing else is said.
pub const DEFAULT_PEER_PORT: u16 = 11625;
/// Container names by which we know stellar-core, best first.
pub const CORE_CONTAINERS: [&str; 3] = [OPERATOR_CONTAINER, "core", "stellar-core"];
/// Name of the operator's core container.
pub const OPERATOR_CONTAINER: &str = "stellar-node";
/// Names of container ports that mean the peer port.
pub const PEER_PORT_NAMES: [&str; 2] = ["peer", "core-peer"];
