//! The JSON that processes and clients exchange. Field names are part of the public interface.

use serde::{Deserialize, Serialize};

use crate::{
    ids::{NodeId, PieceHash, SegmentId},
    time::UnixMillis,
};

/// Name of the header that carries an order.
pub const ORDER_HEADER: &str = "pinstripe-order";

/// Name of the query parameter that carries a ticket.
pub const TICKET_PARAMETER: &str = "ticket";

/// A pinned file or directory, as `POST /v1/files` and `GET /v1/files` show it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileInfo {
    /// Root CID.
    pub cid: String,
    /// Name given at upload.
    pub name: String,
    /// Bytes of the files in it.
    pub size_bytes: u64,
    /// Bytes of all its blocks.
    pub dag_size_bytes: u64,
    /// RFC 3339.
    pub created: String,
    /// Where anyone reads it.
    pub url: String,
    /// RFC 3339; when the pin ends by itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires: Option<String>,
    /// Set when the account had this pin already: nothing was stored or counted again.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub duplicate: bool,
    /// Entries of an archive that were left out because their names begin with a dot.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub left_out: Option<usize>,
    /// Further roots of an uploaded CAR, which are pinned too.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub also: Vec<FileInfo>,
}

/// `GET /v1/files`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileList {
    /// Newest first.
    pub files: Vec<FileInfo>,
    /// Pass it as `cursor` for the next page; absent on the last one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cursor: Option<String>,
}

/// `GET /v1/files/{cid}/health`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileHealth {
    /// Root CID.
    pub cid: String,
    /// `healthy`, `degraded` or `lost`: the worst of its segments.
    pub status: String,
    /// Every segment that it needs.
    pub segments: Vec<SegmentHealthInfo>,
}

/// One segment of a [`FileHealth`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SegmentHealthInfo {
    /// Its name.
    pub id: SegmentId,
    /// How many pieces rebuild it.
    pub needed: u8,
    /// How many there should be.
    pub total: u8,
    /// How many are on healthy nodes.
    pub healthy: u8,
    /// How many more can be lost before it is.
    pub losses_tolerated: u8,
    /// All pieces by index.
    pub pieces: Vec<PieceHealthInfo>,
}

/// One piece of a [`SegmentHealthInfo`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PieceHealthInfo {
    /// Which piece.
    pub index: u8,
    /// Its holder; absent when it is on no node.
    pub node: Option<NodeId>,
    /// Region of the holder.
    pub region: Option<String>,
    /// `healthy`, `missing`, `offline` or `suspended`.
    pub state: String,
}

/// `POST /v1/nodes/enrol`, signed by the node.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct EnrolRequest {
    /// Where the node is reached; it is called back there before it is admitted.
    pub url: String,
    /// Bytes that it offers.
    pub capacity_bytes: u64,
    /// Software version.
    pub version: String,
    /// The operator's invitation; needed the first time only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub invite: Option<String>,
    /// The receipt of an earlier enrolment: good for a network that has lost the node from its database.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub receipt: Option<String>,
}

/// What a gateway tells an admitted node.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct EnrolAnswer {
    /// Hex of the key that signs orders and tickets.
    pub network_key: String,
    /// The region that the node was found to be in.
    pub region: String,
    /// A signed [`Receipt`](crate::receipt::Receipt), to be kept.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub receipt: Option<String>,
}

/// `GET /v1/identity?nonce=`: a node shows that it holds its key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Identity {
    /// Its id.
    pub id: NodeId,
    /// Proof (see [`crate::node_proof`]) over `GET`, `/v1/identity` and the nonce as body.
    pub proof: String,
}

/// `POST /v1/nodes/heartbeat`, signed by the node.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HeartbeatRequest {
    /// Software version.
    pub version: String,
    /// Bytes that it offers.
    pub capacity_bytes: u64,
    /// Bytes in use.
    pub used_bytes: u64,
    /// Bytes that it can still take.
    pub free_bytes: u64,
    /// Pieces held.
    pub piece_count: u64,
    /// Pieces that it found corrupt or lost and admits.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub problems: Vec<PieceHash>,
}

/// Answer to a heartbeat.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HeartbeatAnswer {
    /// The gateway's clock, so that an operator sees a wrong one.
    pub now: UnixMillis,
    /// The node's standing, with the reason when it is not good.
    pub standing: String,
}

/// `POST /v1/nodes/locate`, signed by the node: where are these blocks?
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LocateRequest {
    /// CIDs, at most [`LOCATE_MAX`].
    pub cids: Vec<String>,
    /// What they are read below, if that is known: while the database is away, those nodes are asked first that its readers
    /// are sent to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub root: Option<String>,
}

/// CIDs in one locate request: a full dag-pb node has as many links.
pub const LOCATE_MAX: usize = 1024;

/// Answer to a locate request. Blocks that nobody stores are missing from it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct LocateAnswer {
    /// Places of blocks.
    pub blocks: Vec<BlockPlace>,
    /// The segments that `blocks` refers to by position.
    pub segments: Vec<SegmentPlace>,
}

/// Where a block lies.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BlockPlace {
    /// The block.
    pub cid: String,
    /// Position in [`LocateAnswer::segments`].
    pub segment: usize,
    /// Where it starts in the segment.
    pub offset: u64,
    /// Its length.
    pub length: u64,
}

/// A segment and the pieces that can be fetched.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SegmentPlace {
    /// Its name.
    pub id: SegmentId,
    /// Its coding, such as `gf8/8/20`.
    pub scheme: String,
    /// Its length.
    pub length: u64,
    /// Until when the orders hold.
    pub expires: UnixMillis,
    /// Pieces on nodes that are not known to be gone.
    pub pieces: Vec<PiecePlace>,
    /// Signed [`Places`](crate::places::Places) of the segment and the blocks that were asked for, to be kept for gateways
    /// whose database is away. Older gateways have none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub places: Option<String>,
}

/// A piece, its holder, and leave to read it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PiecePlace {
    /// Which piece.
    pub index: u8,
    /// BLAKE3 of its bytes.
    pub hash: PieceHash,
    /// Its holder.
    pub node: NodeId,
    /// The holder's URL.
    pub url: String,
    /// A signed order to get it.
    pub order: String,
}

/// `POST /v1/places` of a node, with an order for exactly this body: what was the node told of these blocks?
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PlacesRequest {
    /// CIDs, at most [`LOCATE_MAX`].
    pub cids: Vec<String>,
}

/// What a node was told of blocks that a gateway asks for.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PlacesAnswer {
    /// Signed [`Places`](crate::places::Places) in which some of the blocks are, each once.
    pub places: Vec<String>,
}

/// `POST /v1/nodes/redeem`, signed by the node: traffic of one hour, to be paid.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RedeemRequest {
    /// Start of the hour in which the orders and tickets were issued.
    pub hour: UnixMillis,
    /// Orders and tickets with the bytes served under each, at most [`REDEEM_MAX`].
    pub entries: Vec<RedeemEntry>,
}

/// Entries in one redeem request. A node with more keeps the largest.
pub const REDEEM_MAX: usize = 50_000;

/// One redeemed order or ticket.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RedeemEntry {
    /// The signed order or ticket.
    pub token: String,
    /// Bytes served under it.
    pub bytes: u64,
}

/// Answer to a redeem request.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RedeemAnswer {
    /// Whether this call settled the window; `false` when it was settled before.
    pub settled: bool,
    /// Entries that were not accepted: expired, of another hour, not ours, repeated.
    pub refused: usize,
}

/// `GET /v1/status` of a node: cheap, unsigned, asked often.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NodeStatus {
    /// Its id.
    pub id: NodeId,
    /// Requests in progress.
    pub in_flight: u32,
    /// Bytes that it can still take.
    pub free_bytes: u64,
}

/// One piece in a node's list.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ListedPiece {
    /// Its name.
    pub hash: PieceHash,
    /// When it was stored, by the node's clock.
    pub stored: UnixMillis,
    /// Its length.
    pub bytes: u64,
}

/// One piece in a node's inventory: all that is needed to find its segment again.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct InventoryPiece {
    /// Its name.
    pub hash: PieceHash,
    /// The segment it belongs to.
    pub segment: SegmentId,
    /// Which piece of it.
    pub index: u8,
    /// The segment's coding, such as `gf8/8/20`.
    pub scheme: String,
    /// The segment's length.
    pub segment_bytes: u64,
    /// When it was stored, by the node's clock.
    pub stored: UnixMillis,
    /// Whether the node found it damaged.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub corrupt: bool,
}

/// `GET /v1/inventory?after=&limit=` of a node, with an order to list.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct InventoryPage {
    /// Pieces in the order of their names. Those of which nothing is left are passed over.
    pub pieces: Vec<InventoryPiece>,
    /// Where the next page starts; absent on the last one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<PieceHash>,
    /// The node's signed [`Receipt`](crate::receipt::Receipt), on the first page.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub receipt: Option<String>,
}

/// A node on `GET /v1/nodes`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct NodeInfo {
    /// Its id.
    pub id: NodeId,
    /// Where it is reached.
    pub url: String,
    /// Region.
    pub region: String,
    /// ISO 3166 code.
    pub country: Option<String>,
    /// `online` or `offline`.
    pub status: String,
    /// `vetting`, `good`, `suspended` or `disqualified`.
    pub standing: String,
    /// Bytes that it offers.
    pub capacity_bytes: u64,
    /// Bytes in use.
    pub used_bytes: u64,
    /// Audit score, 0 to 1.
    pub audit_score: f64,
    /// RFC 3339; the last time it was reached.
    pub last_contact: String,
}

/// `GET /v1/nodes`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct NodeList {
    /// All nodes.
    pub nodes: Vec<NodeInfo>,
    /// Regions with the number of nodes online.
    pub regions: std::collections::BTreeMap<String, u32>,
}

/// `GET /v1/nodes/{id}/earnings`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Earnings {
    /// The node.
    pub node: NodeId,
    /// All that it has earned, in micro-units; the sum of `by_kind`.
    pub total_micros: u64,
    /// By kind: `storage`, `egress`, `repair_egress`, `audit_egress`.
    pub by_kind: std::collections::BTreeMap<String, u64>,
    /// The latest hours, newest first.
    pub hours: Vec<EarningsHour>,
}

/// One line of [`Earnings`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct EarningsHour {
    /// RFC 3339 start of the hour.
    pub hour: String,
    /// Kind of earning.
    pub kind: String,
    /// Byte-seconds (storage) or bytes.
    pub quantity: u64,
    /// Micro-units.
    pub micros: u64,
}
