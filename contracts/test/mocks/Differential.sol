// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.28;

import {IAccounts} from "../../src/interfaces/IAccounts.sol";
import {IGroup} from "../../src/interfaces/IGroup.sol";
import {Orders} from "../../src/accounts/Orders.sol";
import {Frontier} from "../../src/libraries/Frontier.sol";
import {GroupSignature} from "../../src/libraries/GroupSignature.sol";
import {Recipients} from "../../src/libraries/Recipients.sol";
import {Records} from "../../src/libraries/Records.sol";
import {Batch, Checkpoint} from "../../src/types/Messages.sol";

/// @notice Computes many cases a call with the libraries and contracts of the product, for `tests/tests/it/differential.rs`:
/// that compares what comes out with the Rust core, case by case.
/// @dev Its address is the group contract's where that matters.
contract Differential {
    error NotRead(uint256 case_);
    error NotCreated();
    error NotAccepted(uint256 case_, bytes reason);

    /* MESSAGES AND HEADS */

    /// @notice Leaf of the only record of each case.
    function leaves(bytes[] calldata records, uint64[] calldata nonces)
        external
        pure
        returns (bytes32[] memory results)
    {
        results = new bytes32[](records.length);
        for (uint256 i; i < records.length; ++i) {
            (uint256 buffer, uint256 end,) = _unpack(i, records[i], nonces[i], 0);
            results[i] = Records.leaf(buffer, end);
        }
    }

    /// @notice Head of a mailbox after the records of each case.
    function heads(bytes[] calldata records, uint64[] calldata nonces, bytes32[] calldata before)
        external
        pure
        returns (bytes32[] memory results)
    {
        results = new bytes32[](records.length);
        for (uint256 i; i < records.length; ++i) {
            (uint256 buffer, uint256 end, bytes32 head) = _unpack(i, records[i], nonces[i], before[i]);
            // A strict mailbox that stops is taken back to a head by the other function.
            require(Records.retrace(before[i], buffer, end) == head, NotRead(i));
            results[i] = head;
        }
    }

    /// @dev Unpacks records to free memory and does not take it: as in the group contract, the next case finds there what this
    /// one has left.
    function _unpack(uint256 i, bytes calldata records, uint256 nonce, bytes32 before)
        private
        pure
        returns (uint256 buffer, uint256 cursor, bytes32 head)
    {
        (uint256 record, uint256 end) = (0, records.length);
        assembly ("memory-safe") {
            record := records.offset
            end := add(record, end)
            buffer := mload(0x40)
        }
        (cursor, head) = (buffer, before);
        while (record < end) {
            record = Records.load(cursor, record, end, nonce++);
            head = Records.extend(head, cursor);
            cursor = Records.after_(cursor);
        }
        require(record == end, NotRead(i));
    }

    /* FRONTIER */

    /// @notice Leaf of each mailbox of this chain and this contract.
    function mailboxes(
        bytes32[] calldata instances,
        bytes32[] calldata processes,
        uint256[] calldata nexts,
        bytes32[] calldata heads_
    ) external view returns (bytes32[] memory results) {
        results = new bytes32[](instances.length);
        for (uint256 i; i < instances.length; ++i) {
            results[i] = Frontier.leaf(instances[i], processes[i], nexts[i], heads_[i]);
        }
    }

    /// @notice Whether each proof holds.
    function proofs(
        bytes32[] calldata roots,
        bytes32[] calldata leaves_,
        uint256[] calldata indices,
        bytes32[][] calldata siblings
    ) external pure returns (bool[] memory results) {
        results = new bool[](roots.length);
        for (uint256 i; i < roots.length; ++i) {
            results[i] = Frontier.includes(roots[i], leaves_[i], indices[i], siblings[i]);
        }
    }

    /* SIGNATURES */

    /// @notice The point that each digest hashes to.
    function points(bytes32[] calldata digests) external view returns (bytes[] memory results) {
        results = new bytes[](digests.length);
        for (uint256 i; i < digests.length; ++i) {
            results[i] = new bytes(GroupSignature.SIGNATURE_LENGTH);
            bytes memory point = results[i];
            uint256 output;
            assembly ("memory-safe") {
                output := add(point, 0x20)
            }
            GroupSignature.hashToG1(digests[i], output);
        }
    }

    /// @notice Lets a group contract of its own accept checkpoints, and returns the digests that it verified.
    function checkpoints(bytes calldata code, Checkpoint[] calldata given, bytes[] calldata signatures)
        external
        returns (bytes32[] memory digests)
    {
        IGroup group = IGroup(_create(code));
        digests = new bytes32[](given.length);
        for (uint256 i; i < given.length; ++i) {
            try group.deliver(given[i], signatures[i], new Batch[](0)) {
                digests[i] = group.checkpointDigest();
            } catch (bytes memory reason) {
                revert NotAccepted(i, reason);
            }
        }
    }

    /// @notice Lets a group contract of its own be governed.
    /// @return nonce Of the next governance message.
    function govern(bytes calldata code, uint8[] calldata kinds, bytes[] calldata data, bytes[] calldata signatures)
        external
        returns (uint64 nonce)
    {
        IGroup group = IGroup(_create(code));
        for (uint64 i; i < kinds.length; ++i) {
            try group.govern(i, kinds[i], data[i], signatures[i]) {}
            catch (bytes memory reason) {
                revert NotAccepted(i, reason);
            }
        }
        return group.governanceNonce();
    }

    /* ADDRESSES */

    /// @notice Smart accounts and tokens by a registry of its own, whose group this contract is.
    function addresses(bytes calldata code, bytes32[] calldata users, bytes32[] calldata assets)
        external
        returns (address[] memory accounts, address[] memory tokens)
    {
        IAccounts registry = IAccounts(_create(code));
        (accounts, tokens) = (new address[](users.length), new address[](assets.length));
        for (uint256 i; i < users.length; ++i) {
            accounts[i] = registry.accountOf(users[i]);
        }
        for (uint256 i; i < assets.length; ++i) {
            tokens[i] = registry.tokenOf(assets[i]);
        }
        // Also where they really come to stand.
        if (assets.length != 0) require(registry.createToken(assets[0]) == tokens[0], NotCreated());
    }

    /// @notice What a process calls when it is created.
    function bind(bytes32) external pure {}

    function _create(bytes calldata code) private returns (address made) {
        bytes memory copy = code;
        assembly ("memory-safe") {
            made := create2(0, add(copy, 0x20), mload(copy), 0)
        }
        require(made != address(0), NotCreated());
    }

    /* PAYLOADS */

    /// @notice What an account reads in each payload: a byte that tells whether it is taken, then what `order` returns or
    /// reverts with.
    function orders(bytes[] calldata payloads, bytes32 process) external view returns (bytes[] memory results) {
        results = new bytes[](payloads.length);
        for (uint256 i; i < payloads.length; ++i) {
            (bool success, bytes memory answer) =
                address(this).staticcall(abi.encodeCall(this.order, (payloads[i], process)));
            results[i] = abi.encodePacked(success, answer);
        }
    }

    /// @notice One payload, read as `Account` does.
    function order(bytes calldata payload, bytes32 process)
        external
        pure
        returns (
            bool isStored,
            address place,
            bytes32 key,
            bool keep,
            address spender,
            address[] memory targets,
            bytes[] memory datas
        )
    {
        if (Orders.isPointer(payload, process)) {
            (place, key) = Orders.pointer(payload);
            return (true, place, key, keep, spender, targets, datas);
        }
        bytes memory bytes_ = payload;
        uint256 count;
        uint256 cursor;
        (keep, count, spender, cursor) = Orders.open(bytes_);
        (targets, datas) = (new address[](count), new bytes[](count));
        for (uint256 i; i < count; ++i) {
            uint256 length;
            uint256 next;
            (targets[i],, length, next) = Orders.call(bytes_, cursor);
            datas[i] = payload[next - length:next];
            cursor = next;
        }
        Orders.close(bytes_, cursor);
    }

    /// @notice Whether a payout to each recipient would be taken.
    function recipients(bytes[] calldata given) external pure returns (bool[] memory results) {
        results = new bool[](given.length);
        for (uint256 i; i < given.length; ++i) {
            results[i] = Recipients.isWellFormed(given[i]);
        }
    }
}
