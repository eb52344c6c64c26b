// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.28;

import {Batch, Checkpoint, Message, ProcessInfo, Status} from "../types/Messages.sol";

/// @title The group contract: one door between a group of members and the developer contracts of one chain.
///
/// @notice Members read a ledger, derive the same messages for each developer contract (a process) and co-sign the
/// heads of all mailboxes with one threshold BLS signature, a checkpoint. Anyone delivers messages under it. Processes
/// pay out through `send`; members read its events and pay on the ledger.
///
/// @dev WHO MAY DO WHAT
/// There is no owner and no proxy. A threshold of members can make any message and thus take what the group holds: they are
/// trusted together, none of them alone. The same threshold governs this contract (`govern`): it halts and resumes, replaces
/// the group key, names assets, and limits what tanks repay. Anyone may deliver; a deliverer chooses when a message runs,
/// and thereby its block and the other transactions around it, but not its order, its content or its gas.
///
/// A group may name a recovery address when it deploys. That address may replace the key, and with it the group, but only
/// when no new checkpoint was accepted for more than `silenceDays` days, and never twice in that time. A group that lives
/// shows it by delivering a checkpoint, without any batch if there is nothing else. A group that stays halted for as long
/// falls to the recovery address, too.
///
/// WHO MAY HURT WHOM
/// A process hurts itself only: it is called with bounded gas, nothing that it returns is copied, its failure is
/// recorded and its custody is a book of its own. A sender hurts a process only by what the process accepts as payload.
/// Whoever registers an address that has not bound to them loses the registration: the mailbox is rejected for ever and
/// payments to it go back. A developer therefore calls `bind` first and pays for the registration after that. A target that
/// loses its code later (a delegated account) takes calls without effect and keeps what they bring.
///
/// ASSUMPTIONS
/// Safety: fewer than a threshold of members lie; BLS12-381, keccak256 and SHA-256 hold; the chain's EIP-2537
/// precompiles are right; two deployments never share `groupId`, `instance`, address and chain id.
/// Liveness: a threshold of members signs, somebody delivers, and the chain takes a transaction that holds the gas limit
/// of each process called in it. Should a chain raise the price of a pairing above the fixed cap, delivery stops.
interface IGroup {
    /* EVENTS */

    /// @notice A checkpoint with a higher sequence than all before was accepted.
    event Accepted(uint64 indexed sequence, bytes32 history, bytes32 root);

    /// @notice Messages `first` to `first + count - 1` of a mailbox have run. One event a batch.
    event Delivered(bytes32 indexed process, uint64 first, uint64 count);

    /// @notice A message had no effect on its process: the call failed, the process is not alive, or the message makes
    /// no sense at its place.
    /// @param policy What became of it: 1 parked, 0 anything else (see `Policy`).
    /// @param gasUsed Gas that the failed call took; 0 where nothing was called.
    event Failed(bytes32 indexed process, uint64 indexed nonce, uint8 policy, uint256 gasUsed);

    /// @notice A strict mailbox waits: this message failed, and those behind it have not run.
    /// @param gasUsed Gas that the failed call took.
    event Blocked(bytes32 indexed process, uint64 indexed nonce, uint256 gasUsed);

    /// @notice A parked message has run.
    event Retried(bytes32 indexed process, uint64 indexed nonce);

    /// @notice A parked message will not run any more: its payment goes back to its sender.
    event Claimed(bytes32 indexed process, uint64 indexed nonce);

    /// @notice Somebody filled the tank of a process.
    /// @param amount In wei.
    event Funded(bytes32 indexed process, address indexed from, uint256 amount);

    /// @notice A deliverer took its credit out.
    /// @param amount In wei.
    event Withdrawn(address indexed deliverer, address indexed to, uint256 amount);

    /// @notice The group is asked to pay on the ledger.
    /// @param nonce Counts all outbounds of this contract, without gaps, from 0.
    /// @param sequence Highest ledger sequence accepted here: what members may take into account for this payout.
    /// @param asset Kernel asset id.
    /// @param amount In 10^-8 units.
    /// @param recipient A 32-byte account that the process has seen, or a MIX payload.
    /// @param memo Raw extra of the ledger payment.
    event Outbound(
        uint64 indexed nonce,
        bytes32 indexed process,
        uint64 sequence,
        bytes32 asset,
        uint256 amount,
        bytes recipient,
        bytes memo
    );

    /// @notice `target` allows a registration of itself by `process`.
    event Bound(bytes32 indexed process, address indexed target);

    /// @notice A registration came alive.
    /// @param gasLimit Gas of each call: what was asked for, cut to 8,000,000 so that a delivery fits a transaction.
    event Registered(bytes32 indexed process, address indexed target, uint32 gasLimit, uint8 flags);

    /// @notice A registration came to nothing; each payment to this mailbox goes back to its sender.
    event Rejected(bytes32 indexed process, address indexed target);

    /// @notice A process's gas limit or flags changed.
    /// @param gasLimit Cut like that of a registration.
    event Updated(bytes32 indexed process, uint32 gasLimit, uint8 flags);

    /// @notice A process takes no more calls. It may still pay out what it holds.
    event Closed(bytes32 indexed process);

    /// @notice The group decided something for this contract.
    /// @param kind See `GovernanceKind`, and `data` there.
    event Governed(uint64 indexed nonce, uint8 kind, bytes data);

    /// @notice The recovery address replaced the group key after a long silence.
    event Recovered(uint64 indexed generation, bytes key);

    /* ERRORS */

    /// @notice The chain has no working BLS12-381 precompiles (EIP-2537).
    error MissingPrecompiles();

    /// @notice The group key is not 256 bytes, at infinity, off the curve or outside the subgroup.
    error InvalidKey();

    /// @notice The signature is malformed, at infinity, or not the group's over this checkpoint or decision.
    error InvalidSignature();

    /// @notice A recovery address without days of silence, or the other way round.
    error InvalidRecovery();

    /// @notice The group has halted this contract.
    error Halted();

    /// @notice A decision that is not the next one: used before, or too early.
    error WrongGovernanceNonce(uint64 next, uint64 nonce);

    /// @notice A decision of a kind that this contract does not know.
    error UnknownGovernanceKind(uint8 kind);

    /// @notice The data of a decision does not fit its kind.
    error InvalidGovernance();

    /// @notice A new key must be of a higher generation than the one that counts.
    error StaleGeneration(uint64 current, uint64 generation);

    /// @notice The new key did not sign for itself: nobody has shown to hold its secret.
    error InvalidPossession();

    /// @notice Somebody other than the recovery address wants to recover, or there is none.
    error NotRecovery(address caller);

    /// @notice The last checkpoint was accepted `silent` days ago, and it takes more than `needed`.
    error NotSilent(uint16 silent, uint16 needed);

    /// @notice A sequence that does not fit the 40 bits it is stored in.
    error SequenceTooLarge(uint64 sequence);

    /// @notice The mailbox is not in the frontier with these messages: one of them was changed, or the proof is of
    /// another mailbox, chain, contract or instance.
    error InvalidProof(bytes32 process);

    /// @notice The packed records end in the middle of a record.
    error MalformedMessages(bytes32 process);

    /// @notice Too little gas is left to give a call all the gas it is registered for. Deliver with more gas.
    error InsufficientGas(bytes32 process, uint64 nonce, uint256 left, uint256 needed);

    /// @notice The function must not be called while a process is running.
    error Reentered();

    /// @notice The process id is zero.
    error InvalidProcess();

    /// @notice The caller is bound to another process already.
    error AlreadyBound(bytes32 process);

    /// @notice The address is not the target of a process that came alive, or the process has no status for this.
    error NotLive(address caller, bytes32 process, Status status);

    /// @notice The first message of a batch is one of a strict process, and it fails. Deliver without this mailbox; try again
    /// later, or when an update or closing of it is there, with all messages up to that one. A batch that begins before the
    /// failing message never reverts for it, also where others have run what is before it.
    error StrictBlocked(bytes32 process, uint64 nonce);

    /// @notice Not the message that is parked under this nonce, or none is.
    error NotParked(bytes32 process, uint64 nonce);

    /// @notice The parked message failed again. It stays parked.
    error RetryFailed(bytes32 process, uint64 nonce);

    /// @notice The payment of a parked message cannot be claimed before `due`, in seconds since 1970.
    error TooEarly(bytes32 process, uint64 nonce, uint256 due);

    /// @notice The parked message has no payment, or no sender it could go back to. It stays parked.
    error NothingToClaim(bytes32 process, uint64 nonce);

    /// @notice The caller has no credit.
    error NoCredit(address caller);

    /// @notice The credit could not be sent there.
    error WithdrawalFailed(address to, uint256 amount);

    /// @notice The caller is not the target of a process that was closed.
    error NotClosed(address caller, bytes32 process, Status status);

    /// @notice An amount of zero or above 2^128 - 1; of native coin, also one that is no multiple of a gwei.
    error InvalidAmount(uint256 amount);

    /// @notice The process holds less than it wants to send.
    error InsufficientCustody(bytes32 process, bytes32 asset, uint256 custody, uint256 amount);

    /// @notice The recipient is neither a 32-byte account other than zero nor a well-formed MIX payload.
    error InvalidRecipient();

    /// @notice A message of ERC-7786 does not say, once, what it pays.
    error InvalidTransfer();

    /// @notice The memo is longer than the ledger takes.
    error MemoTooLong(uint256 length, uint256 maximum);

    /// @notice All outbound nonces are used.
    error OutboundsExhausted();

    /* DELIVERY */

    /// @notice Runs messages under a signed checkpoint.
    /// @dev Requirements:
    /// - the contract is not halted.
    /// - `signature` is the group's over the checkpoint. It is not looked at when this very checkpoint is the newest that
    ///   was accepted. Any validly signed checkpoint will do, an older one too; it never replaces a newer.
    /// - each batch has well-formed records and proves its mailbox under the checkpoint's root.
    /// - enough gas to give each call its full registered gas.
    ///
    /// Notes:
    /// - the messages that the mailbox has run already are passed over. A batch that is behind the mailbox, or that starts
    ///   beyond it, is skipped without a word, so that two deliverers who race never block each other.
    /// - `Delivered` tells what ran.
    /// @param checkpoint What the members signed.
    /// @param signature EIP-2537 encoding of a G1 point, 128 bytes.
    /// @param batches Run in this order; several may be of one mailbox.
    function deliver(Checkpoint calldata checkpoint, bytes calldata signature, Batch[] calldata batches) external;

    /* GOVERNANCE */

    /// @notice Does what the group has decided for this contract. Anyone may hand it in, also while halted.
    /// @dev Requirements:
    /// - `nonce` is `governanceNonce()`.
    /// - `signature` is the group's over keccak256(abi.encode(keccak256("lockstep/v1/govern"), groupId, chain id, this
    ///   address, instance, nonce, kind, keccak256(data))), made like that of a checkpoint.
    /// - not called by a process that is running.
    ///
    /// Notes:
    /// - a decision names the state that follows: to halt what is halted is no error, and uses the nonce.
    /// - HALT stops `deliver`, `send`, `sendMessage`, `retry` and `claim`, and nothing else.
    /// - ROTATE needs the signature of the new key over keccak256(abi.encode(keccak256("lockstep/v1/possession"), groupId,
    ///   chain id, this address, instance, generation, keccak256(key))). From then on every checkpoint is verified under the
    ///   new key, also the newest accepted one.
    /// - a decision that reverts leaves its nonce for another.
    /// @param kind See `GovernanceKind`.
    function govern(uint64 nonce, uint8 kind, bytes calldata data, bytes calldata signature) external;

    /// @notice Replaces the group key after a silence of more than `silenceDays` days. For the recovery address only.
    /// @dev A halted contract stays halted; the new key can resume it.
    /// @param generation Above `keyGeneration()`.
    /// @param key_ 256 bytes, EIP-2537 encoding of a G2 point.
    /// @param possession Signature of the new key, as for ROTATE.
    function recover(uint64 generation, bytes calldata key_, bytes calldata possession) external;

    /* PROCESSES */

    /// @notice Allows the caller to be registered as the contract of `process`. Repeating it does nothing.
    /// @dev A contract serves one process for ever. Warning: must come before the registration is delivered.
    function bind(bytes32 process) external;

    /// @notice Asks the group to pay out of the caller's custody. The same in the words of ERC-7786 is `sendMessage`: the group
    /// contract is a source gateway (`IERC7786GatewaySource`) for addresses of chain type `Ledger.CHAIN_TYPE`.
    /// @dev Callable by the target of a process that came alive, also from inside of `onMessage`, unless halted.
    ///
    /// Warning: a payout that the ledger cannot make (an account that this process has never received from) comes back
    /// as a message of kind BOUNCE, without telling which payout it was.
    /// @param asset Kernel asset id.
    /// @param amount In 10^-8 units, from 1 to 2^128 - 1.
    /// @param recipient A 32-byte account that this process has been paid by, or a MIX payload: 2, threshold, count, then
    /// 16 bytes a user or 64 bytes an address, 1 <= threshold <= count <= 64.
    /// @param memo Raw extra of the ledger payment, at most 200 bytes.
    /// @return nonce Number of the outbound.
    function send(bytes32 asset, uint256 amount, bytes calldata recipient, bytes calldata memo)
        external
        returns (uint64 nonce);

    /* PARKED MESSAGES */

    /// @notice Calls a parked message's process again. Anyone may do so, at any time.
    /// @dev Requirements:
    /// - the contract is not halted, the process is alive, and nothing is running.
    /// - enough gas to give the call its full registered gas.
    /// - the call succeeds. Else all is as before.
    ///
    /// Warning: it runs after messages that came later, once.
    /// @param message Exactly as it was delivered.
    function retry(bytes32 process, Message calldata message) external;

    /// @notice Gives the payment of a parked message back to its sender, as an outbound. Anyone may do so, `claimDelay` after
    /// it was parked, or at once when its process is closed. The message will not run any more.
    /// @dev What was paid by nobody goes to the process's custody once the process is closed, and waits for a retry before.
    /// @param message Exactly as it was delivered.
    function claim(bytes32 process, Message calldata message) external;

    /* TANKS AND CREDITS */

    /// @notice Fills the tank of a process that is alive, for anyone. Whole gwei only, 2^48 - 1 of them at most.
    /// @dev It is a gift to the process: only deliverers are paid from it, and its own contract after it was closed.
    function fund(bytes32 process) external payable;

    /// @notice Turns the tank of a closed process into credit of its target, the caller.
    /// @return amount In wei.
    function reclaim() external returns (uint256 amount);

    /// @notice Sends the caller's credit, but for one wei that keeps its slot in use. Works while halted.
    /// @return amount In wei.
    function withdraw(address to) external returns (uint256 amount);

    /* VIEWS */

    /// @notice Identity of the group, independent of its key.
    function groupId() external view returns (bytes32);

    /// @notice Random bytes that tell this deployment from any other, also on a chain that was set up anew.
    function instance() external view returns (bytes32);

    /// @notice The group key, 256 bytes, EIP-2537 encoding of a G2 point.
    function key() external view returns (bytes memory);

    /// @notice Counts the keys of the group: 0 for the one it was deployed with.
    function keyGeneration() external view returns (uint64);

    /// @notice Nonce of the next decision for this contract.
    function governanceNonce() external view returns (uint64);

    /// @notice Whether deliveries and payouts are stopped.
    function halted() external view returns (bool);

    /// @notice Who may replace the key after a long silence, zero for nobody.
    function recovery() external view returns (address);

    /// @notice How long a silence must have been longer than, in days; zero without a recovery address.
    function silenceDays() external view returns (uint16);

    /// @notice Days since 1970, modulo 2^16, when a new checkpoint was accepted last; the day of deployment before the first.
    function lastAcceptedDay() external view returns (uint16);

    /// @notice What tanks repay at most: a tip for each gas over the base fee, in wei, and gas for each byte of calldata.
    function repayLimits() external view returns (uint64 tipWei, uint32 gasPerByte);

    /// @notice Name and symbol of an asset, both empty until the group names it. Its decimals are always 8.
    function assetInfo(bytes32 asset) external view returns (string memory name, string memory symbol);

    /// @notice Highest ledger sequence accepted.
    function sequence() external view returns (uint64);

    /// @notice Nonce of the next outbound.
    function outboundNonce() external view returns (uint64);

    /// @notice Digest of the newest accepted checkpoint, zero before the first.
    function checkpointDigest() external view returns (bytes32);

    /// @notice Head of a mailbox after the last message that ran; zero for a new one.
    function head(bytes32 process) external view returns (bytes32);

    /// @notice What is known of a process.
    function processInfo(bytes32 process) external view returns (ProcessInfo memory);

    /// @notice What a process may pay out, in 10^-8 units.
    function custody(bytes32 process, bytes32 asset) external view returns (uint256);

    /// @notice The message parked under a nonce: its leaf without the last 5 bytes, and when it was parked, in seconds since
    /// 1970. Zeros where none is.
    function parked(bytes32 process, uint64 nonce) external view returns (bytes32 hash, uint64 time);

    /// @notice How long a parked message can only be retried, in seconds.
    function claimDelay() external view returns (uint256);

    /// @notice What a deliverer may withdraw, in wei, and one wei more.
    function credit(address deliverer) external view returns (uint256);

    /// @notice The process that `target` has bound to, zero for none.
    function processOf(address target) external view returns (bytes32);

    /// @notice Whether `target` has bound to a process.
    function bound(address target) external view returns (bool);
}
