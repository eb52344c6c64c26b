// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.28;

import {IGroup} from "../src/interfaces/IGroup.sol";
import {Batch, GovernanceKind, MessageKind, Policy} from "../src/types/Messages.sol";
import {Signed} from "./helpers/Members.sol";
import {TankTest} from "./helpers/TankTest.sol";
import {MockProcess} from "./mocks/MockProcess.sol";

/// @notice A delivery to a process with a tank: who is repaid, by whom, at most how much. How exactly gas is repaid is measured by `make bench`.
contract RepayTest is TankTest {
    /// @dev What leaves tanks is what deliverers are credited, to the wei, and the contract has it.
    function test_RepaysOutOfTheTankOfWhoRan() public {
        group.fund{value: 1 ether}(PROCESS);
        post(box, ALICE, 5, "one");
        post(otherBox, ALICE, 5, "two");
        Signed memory signed = members.sign();
        deliverAs(signed, list(members.batch(signed, box, 1), members.batch(signed, otherBox, 1)));
        uint256 paid = 1 ether - group.processInfo(PROCESS).tank;
        vm.assertTrue(paid > 100_000 * BASE_FEE);
        vm.assertEq(group.credit(DELIVERER), paid);
        vm.assertEq(group.processInfo(OTHER).tank, 0);
        vm.assertEq(address(group).balance, 1 ether);
    }

    /// @dev What others have delivered before is not repaid again: not when all of it was, and only the rest when not.
    function test_RepaysWhatItDidOnly() public {
        group.fund{value: 10 ether}(PROCESS);
        for (uint256 i; i < 60; ++i) {
            post(box, ALICE, 5, abi.encode(i));
        }
        Signed memory early = members.sign();
        post(box, ALICE, 5, "last");
        Signed memory late = members.sign();
        deliver(early, box, 1);
        uint256 tank = group.processInfo(PROCESS).tank;
        deliverAs(early, list(members.batch(early, box, 1)));
        vm.assertEq(group.credit(DELIVERER), 0);
        vm.assertEq(group.processInfo(PROCESS).tank, tank);

        uint256 state = vm.snapshotState();
        deliverAs(late, list(members.batch(late, box, 61)));
        uint256 alone = group.credit(DELIVERER);
        vm.revertToState(state);
        deliverAs(late, list(members.batch(late, box, 1)));
        uint256 withThePast = group.credit(DELIVERER);
        // Memory that the past took is paid by who brings it along; a little of it shows in the measured call.
        vm.assertLe(withThePast, alone * 101 / 100, "the past is not repaid");
    }

    /// @dev A mailbox twice in a delivery, and one that is skipped beside one that runs.
    function test_RepaysABatchOnce() public {
        group.fund{value: 1 ether}(PROCESS);
        post(box, ALICE, 5, "one");
        Signed memory signed = members.sign();
        Batch memory batch = members.batch(signed, box, 1);
        uint256 state = vm.snapshotState();
        deliverAs(signed, list(batch));
        uint256 alone = group.credit(DELIVERER);
        vm.revertToState(state);
        deliverAs(signed, list(batch, batch));
        vm.assertEq(group.credit(DELIVERER) / 1e12, alone / 1e12);
    }

    /// @dev A contract that delivers each mailbox on its own, all in one transaction, has paid for one transaction only. A test
    /// is one transaction.
    function test_RepaysATransactionOnce() public {
        group.fund{value: 1 ether}(PROCESS);
        group.fund{value: 1 ether}(OTHER);
        post(box, ALICE, 5, "one");
        post(otherBox, ALICE, 5, "one");
        Signed memory signed = members.sign();
        deliver(signed, box, 1);
        Batch[] memory batches = list(members.batch(signed, otherBox, 1));
        bytes memory call = abi.encodeCall(group.deliver, (signed.checkpoint, signed.signature, batches));
        uint256 credit = group.credit(address(this));
        uint256 before = gasleft();
        (bool success,) = address(group).call(call);
        uint256 used = before - gasleft();
        vm.assertTrue(success);
        for (uint256 i; i < call.length; ++i) {
            used += call[i] == 0 ? 4 : 16;
        }
        vm.assertLe(group.credit(address(this)) - credit, used * BASE_FEE, "no second transaction");
    }

    /// @dev Verification is shared by weight, with those without a tank, too.
    function test_SharesWhatIsShared() public {
        group.fund{value: 1 ether}(PROCESS);
        group.fund{value: 1 ether}(OTHER);
        post(box, ALICE, 5, "one");
        post(otherBox, ALICE, 5, "one");
        Signed memory signed = members.sign();
        deliverAs(signed, list(members.batch(signed, box, 1), members.batch(signed, otherBox, 1)));
        uint256 first = 1 ether - group.processInfo(PROCESS).tank;
        uint256 second = 1 ether - group.processInfo(OTHER).tank;
        uint256 apart = first > second ? first - second : second - first;
        vm.assertLe(apart, first / 20, "equal work, equal shares");
        vm.assertEq(group.credit(DELIVERER), first + second);
    }

    function test_RepaysNoMoreThanTheTankHolds() public {
        group.fund{value: 1000 gwei}(PROCESS);
        post(box, ALICE, 5, "one");
        Signed memory signed = members.sign();
        deliverAs(signed, list(members.batch(signed, box, 1)));
        vm.assertEq(group.credit(DELIVERER), 1000 gwei);
        vm.assertEq(group.processInfo(PROCESS).tank, 0);
        vm.assertEq(target.received(), 1);
        // And with an empty one it delivers as well.
        post(box, ALICE, 5, "two");
        signed = members.sign();
        deliverAs(signed, list(members.batch(signed, box, 2)));
        vm.assertEq(group.credit(DELIVERER), 1000 gwei);
        vm.assertEq(target.received(), 2);
    }

    /// @dev The base fee and the limited tip, or the price that was really paid.
    function test_RepaysTheLimitedPrice() public {
        decide(GovernanceKind.REPAY, abi.encode(uint64(2 gwei), uint32(40)));
        group.fund{value: 1 ether}(PROCESS);
        post(box, ALICE, 5, "one");
        Signed memory signed = members.sign();
        Batch[] memory batches = list(members.batch(signed, box, 1));
        uint256[4] memory prices = [BASE_FEE, BASE_FEE + 1 gwei, BASE_FEE + 2 gwei, BASE_FEE + 500 gwei];
        uint256[4] memory repaid;
        uint256 state = vm.snapshotState();
        for (uint256 i; i < 4; ++i) {
            vm.txGasPrice(prices[i]);
            deliverAs(signed, batches);
            repaid[i] = group.credit(DELIVERER);
            vm.revertToState(state);
        }
        uint256 gas = repaid[0] / BASE_FEE;
        vm.assertLe(apartBy(repaid[1], gas * 21 gwei), 10 gwei, "a tip below the limit");
        vm.assertLe(apartBy(repaid[2], gas * 22 gwei), 10 gwei, "the limit");
        vm.assertEq(repaid[3], repaid[2]);
    }

    /// @dev A governed price of a byte raises what a message with much payload is repaid.
    function test_RepaysTheFloorOfCalldata() public {
        group.fund{value: 10 ether}(PROCESS);
        members.post(box, MessageKind.CALL, ALICE, 0, 0, new bytes(20_000));
        target.setMode(MockProcess.Mode.Revert);
        Signed memory signed = members.sign();
        Batch[] memory batches = list(members.batch(signed, box, 1));
        uint256 state = vm.snapshotState();
        deliverAs(signed, batches);
        uint256 usual = group.credit(DELIVERER) / BASE_FEE;
        vm.revertToState(state);
        decide(GovernanceKind.REPAY, abi.encode(uint64(0), uint32(64)));
        deliverAs(signed, batches);
        uint256 dearer = group.credit(DELIVERER) / BASE_FEE;
        vm.assertLe(apartBy(dearer, 64 * 20_000 + 64 * 200 + 21_000), 10_000, "64 gas a byte");
        vm.assertTrue(dearer > usual * 3 / 2);
    }

    /// @dev A process that funds its own tank from inside of the delivery loses nothing of it.
    function test_TakesWhatIsFundedMeanwhile() public {
        group.fund{value: 1 ether}(PROCESS);
        Funder funder = new Funder{value: 1 ether}(group, PROCESS);
        target.setMode(MockProcess.Mode.Keep);
        uint256 funderBox = members.open(funder.OWN());
        members.register(funderBox, address(funder), 0, GAS_LIMIT);
        post(box, ALICE, 5, "one");
        members.post(funderBox, MessageKind.CALL, ALICE, 0, 0, "");
        Signed memory signed = members.sign();
        deliverAs(signed, list(members.batch(signed, box, 1), members.batch(signed, funderBox, 0)));
        vm.assertEq(group.processInfo(PROCESS).tank + group.credit(DELIVERER), 2 ether);
        vm.assertEq(address(group).balance, 2 ether);
    }

    /// @dev A strict mailbox that stops repays what ran, and not what lies behind.
    function test_RepaysNothingBehindABlockedMessage() public {
        members.post(box, MessageKind.UPDATE, 0, 0, 0, abi.encodePacked(uint8(Policy.STRICT << 1), uint32(50_000)));
        deliver(box, 1);
        group.fund{value: 10 ether}(PROCESS);
        members.post(box, MessageKind.UPDATE, 0, 0, 0, abi.encodePacked(uint8(Policy.STRICT << 1), uint32(60_000)));
        target.setMode(MockProcess.Mode.Revert);
        post(box, ALICE, 5, "bad");
        Signed memory early = members.sign();
        for (uint256 i; i < 100; ++i) {
            post(box, ALICE, 5, new bytes(100));
        }
        Signed memory late = members.sign();
        uint256 state = vm.snapshotState();
        deliverAs(early, list(members.batch(early, box, 2)));
        uint256 little = group.credit(DELIVERER);
        vm.revertToState(state);
        deliverAs(late, list(members.batch(late, box, 2)));
        // Looking for a release behind it is all that is more.
        vm.assertLe(group.credit(DELIVERER), little * 125 / 100, "what did not run is not repaid");
    }

    /* HELPERS */

    function apartBy(uint256 left, uint256 right) private pure returns (uint256) {
        return left > right ? left - right : right - left;
    }
}

/// @notice A process that fills another one's tank when it is called.
contract Funder {
    bytes32 public constant OWN = bytes32(uint256(0xf00d));
    IGroup private immutable GROUP;
    bytes32 private immutable PROCESS;

    constructor(IGroup group, bytes32 process) payable {
        (GROUP, PROCESS) = (group, process);
        group.bind(OWN);
    }

    fallback() external {
        GROUP.fund{value: 1 ether}(PROCESS);
    }
}
