// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.28;

import {IGroup} from "../../src/interfaces/IGroup.sol";
import {Batch, Checkpoint, MessageKind} from "../../src/types/Messages.sol";
import {MockProcess} from "../mocks/MockProcess.sol";
import {Members, Signed} from "./Members.sol";
import {Signer} from "./Signer.sol";
import {Test} from "./Test.sol";
import {Log} from "./Vm.sol";

/// @notice A group contract, its members, and named actors.
abstract contract GroupTest is Test {
    bytes32 internal constant GROUP_ID = keccak256("group");
    bytes32 internal constant INSTANCE = keccak256("instance");
    uint256 internal constant SECRET = 0x1005;
    /// @dev Enough for a mock to keep long payloads, or to return a megabyte.
    uint32 internal constant GAS_LIMIT = 3_000_000;

    /// @dev Accounts of ledger users: a UUID at the right.
    bytes32 internal constant ALICE = bytes32(uint256(0xa11ce));
    bytes32 internal constant BOB = bytes32(uint256(0xb0b));
    bytes32 internal constant XIN = keccak256("XIN");
    bytes32 internal constant BTC = keccak256("BTC");

    bytes32 internal constant PROCESS = bytes32(uint256(0xda7a << 112 | 1));
    bytes32 internal constant OTHER = bytes32(uint256(0xda7a << 112 | 2));

    IGroup internal group;
    Members internal members;

    function setUp() public virtual {
        group = newGroup(Signer.key(SECRET));
        members = newMembers(SECRET, GROUP_ID);
    }

    function newGroup(bytes memory key) internal returns (IGroup) {
        return newGroup(key, address(0), 0);
    }

    function newGroup(bytes memory key, address recovery, uint16 silenceDays) internal returns (IGroup) {
        return IGroup(create("Group.sol:Group", abi.encode(GROUP_ID, INSTANCE, key, recovery, silenceDays)));
    }

    /* GOVERNANCE */

    /// @dev What members sign to govern `group`.
    function decisionDigest(uint64 nonce, uint8 kind, bytes memory data) internal view returns (bytes32) {
        return keccak256(
            abi.encode(
                keccak256("lockstep/v1/govern"),
                GROUP_ID,
                block.chainid,
                address(group),
                INSTANCE,
                nonce,
                kind,
                keccak256(data)
            )
        );
    }

    /// @dev Signs the next decision and hands it in.
    function decide(uint8 kind, bytes memory data) internal virtual {
        uint64 nonce = group.governanceNonce();
        group.govern(nonce, kind, data, Signer.sign(SECRET, decisionDigest(nonce, kind, data)));
    }

    /// @dev Signature of a new key over itself.
    function possession(uint256 secret, uint64 generation) internal view returns (bytes memory) {
        bytes32 digest = keccak256(
            abi.encode(
                keccak256("lockstep/v1/possession"),
                GROUP_ID,
                block.chainid,
                address(group),
                INSTANCE,
                generation,
                keccak256(Signer.key(secret))
            )
        );
        return Signer.sign(secret, digest);
    }

    /// @dev Data of a decision for the key of `secret`.
    function rotation(uint256 secret, uint64 generation) internal view returns (bytes memory) {
        return abi.encode(generation, Signer.key(secret), possession(secret, generation));
    }

    function newMembers(uint256 secret, bytes32 groupId) internal returns (Members made) {
        made = new Members(secret, groupId);
        made.place(block.chainid, address(group), INSTANCE);
    }

    /* PROCESSES */

    /// @dev A process whose registration is posted and not delivered.
    function newProcess(bytes32 process) internal returns (uint256 box, MockProcess target) {
        target = new MockProcess(group, process);
        box = members.open(process);
        members.register(box, address(target), 0, GAS_LIMIT);
    }

    /// @dev A process that is alive.
    function newLiveProcess(bytes32 process) internal returns (uint256 box, MockProcess target) {
        (box, target) = newProcess(process);
        deliver(box, 0);
    }

    /* DELIVERY */

    function post(uint256 box, bytes32 sender, uint256 amount, bytes memory payload) internal {
        members.post(box, MessageKind.CALL, sender, amount == 0 ? bytes32(0) : XIN, amount, payload);
    }

    /// @dev Signs what is posted, and delivers one mailbox from message `first` on.
    function deliver(uint256 box, uint256 first) internal {
        deliver(members.sign(), box, first);
    }

    function deliver(Signed memory signed, uint256 box, uint256 first) internal {
        deliver(signed, list(members.batch(signed, box, first)));
    }

    function deliver(Signed memory signed, Batch[] memory batches) internal {
        group.deliver(signed.checkpoint, signed.signature, batches);
    }

    function list(Batch memory one) internal pure returns (Batch[] memory batches) {
        batches = new Batch[](1);
        batches[0] = one;
    }

    function list(Batch memory one, Batch memory two) internal pure returns (Batch[] memory batches) {
        batches = new Batch[](2);
        (batches[0], batches[1]) = (one, two);
    }

    /* CLAIMS */

    /// @dev Delivery of `batches` reverts with `reason`, and nothing changes.
    function refuses(Signed memory signed, Batch[] memory batches, bytes memory reason) internal {
        (uint64 sequence, bytes32 digest) = (group.sequence(), group.checkpointDigest());
        vm.expectRevert(reason);
        group.deliver(signed.checkpoint, signed.signature, batches);
        vm.assertEq(group.sequence(), sequence);
        vm.assertEq(group.checkpointDigest(), digest);
    }

    /// @dev Number of logs whose first topic is `selector`.
    function countLogs(Log[] memory logs, bytes32 selector) internal pure returns (uint256 found) {
        for (uint256 i; i < logs.length; ++i) {
            if (logs[i].topics[0] == selector) ++found;
        }
    }

    /// @dev Raw operation {13, process, extra = nonce}, written out.
    function refundMemo(bytes32 process, uint64 nonce) internal pure returns (bytes memory) {
        return abi.encodePacked(hex"000d", uint128(uint256(process)), hex"000000000008", nonce);
    }

    /// @dev Expects the outbound that gives a failed payment back.
    function expectRefund(uint64 outbound, bytes32 process, bytes32 sender, uint256 amount, uint64 nonce) internal {
        vm.expectEmit(address(group));
        emit IGroup.Outbound(
            outbound, process, members.sequence(), XIN, amount, abi.encode(sender), refundMemo(process, nonce)
        );
    }
}
