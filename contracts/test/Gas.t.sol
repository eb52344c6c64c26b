// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.28;

import {MessageKind} from "../src/types/Messages.sol";
import {Signed} from "./helpers/Members.sol";
import {GroupTest} from "./helpers/GroupTest.sol";

/// @notice Gas of whole transactions, intrinsic cost and calldata included. The bars are those of the design: one process
/// among 1,024 mailboxes, 64-byte payload, a payment booked, one storage write of the receiver.
/// @dev The figures for the record are measured on a chain by `make bench`; these are the ones to look at in a diff.
/// forge-config: default.isolate = true
contract GasTest is GroupTest {
    uint256 private constant MAILBOXES = 1024;
    uint256 private constant MESSAGES = 101;

    /// @dev Full length, as ledger ids have.
    bytes32 private constant TARGET = bytes32(uint256(0x8f1a2b3c4d5e4f60917283a4b5c6d7e8));

    uint256 private box;

    function setUp() public override {
        super.setUp();
        bytes32[] memory keys = new bytes32[](MESSAGES);
        for (uint256 i; i < MESSAGES; ++i) {
            keys[i] = keyOf(i);
        }
        address recorder = newRecorder(TARGET, keys);
        for (uint256 i = 1; i < MAILBOXES; ++i) {
            members.open(bytes32(i));
        }
        box = members.open(TARGET);
        members.register(box, recorder, 0, GAS_LIMIT);
        // Custody and the checkpoint's slots are in use.
        postPayment(100);
        deliver(box, 0);
    }

    function test_firstOfOne() public {
        measure(1, 195_000);
    }

    function test_firstOfTen() public {
        measure(10, 29_000);
    }

    function test_firstOfHundred() public {
        measure(100, 12_000);
    }

    function test_secondUnderTheSameCheckpoint() public {
        uint256 second = members.open(OTHER);
        bytes32[] memory keys = new bytes32[](2);
        (keys[0], keys[1]) = (keyOf(0), keyOf(1));
        members.register(second, newRecorder(OTHER, keys), 0, GAS_LIMIT);
        members.post(second, MessageKind.CALL, keccak256("sender"), keccak256("asset"), 7, payloadOf(0));
        deliver(second, 0);
        members.post(second, MessageKind.CALL, keccak256("sender"), keccak256("asset"), 7, payloadOf(1));
        postPayment(0);
        Signed memory signed = members.sign();
        deliver(signed, second, 2);
        deliver(signed, box, 2);
        check("deliver 1, stored checkpoint", 1, 75_000);
    }

    function test_lostRace() public {
        postPayment(0);
        Signed memory signed = members.sign();
        deliver(signed, box, 2);
        deliver(signed, box, 2);
        check("deliver 1, lost race", 1, 55_000);
    }

    function measure(uint256 messages, uint256 bar) private {
        for (uint256 i; i < messages; ++i) {
            postPayment(i);
        }
        deliver(box, 2);
        check(string.concat("deliver ", vm.toString(messages), ", new checkpoint"), messages, bar);
    }

    function check(string memory name, uint256 messages, uint256 bar) private {
        uint256 gas = vm.snapshotGasLastCall(name);
        vm.assertLe(gas / messages, bar, name);
    }

    function newRecorder(bytes32 process, bytes32[] memory keys) private returns (address) {
        return create("Recorder.sol:Recorder", abi.encode(group, process, keys));
    }

    function postPayment(uint256 i) private {
        bytes32 sender = keccak256("sender");
        members.post(box, MessageKind.CALL, sender, keccak256("asset"), 0x0123456789abcdef, payloadOf(i));
    }

    function payloadOf(uint256 i) private pure returns (bytes memory) {
        return abi.encode(keyOf(i), keccak256(abi.encode("value", i)));
    }

    function keyOf(uint256 i) private pure returns (bytes32) {
        return keccak256(abi.encode("key", i));
    }
}
