// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.28;

import {IGroup} from "../src/interfaces/IGroup.sol";
import {Batch, GovernanceKind, MessageKind, Policy, Status} from "../src/types/Messages.sol";
import {GroupTest} from "./helpers/GroupTest.sol";
import {Signed} from "./helpers/Members.sol";
import {MockProcess} from "./mocks/MockProcess.sol";

/// @notice Tanks and credits: who is paid, by whom, at most how much. How exactly gas is repaid is in GasTank.t.sol.
contract TankTest is GroupTest {
    address private constant DELIVERER = address(0xde11);
    uint256 private constant BASE_FEE = 20 gwei;

    uint256 private box;
    MockProcess private target;
    uint256 private otherBox;
    MockProcess private other;

    function setUp() public override {
        super.setUp();
        vm.fee(BASE_FEE);
        vm.txGasPrice(BASE_FEE);
        vm.deal(address(this), 1000 ether);
        (box, target) = newLiveProcess(PROCESS);
        (otherBox, other) = newLiveProcess(OTHER);
    }

    /* FUND: REFUSALS */

    /// @dev What a process cannot use would be lost.
    function test_RefusesToFundWhatIsNotAlive() public {
        bytes32 nobody = keccak256("nobody");
        vm.expectRevert(abi.encodeWithSelector(IGroup.NotLive.selector, address(0), nobody, Status.None));
        group.fund{value: 1 gwei}(nobody);
        close();
        vm.expectRevert(abi.encodeWithSelector(IGroup.NotLive.selector, address(target), PROCESS, Status.Closed));
        group.fund{value: 1 gwei}(PROCESS);
    }

    function test_RefusesToFundWithNothingOrWithPartsOfAGwei() public {
        uint256[3] memory amounts = [uint256(0), 1, 1 ether + 1];
        for (uint256 i; i < amounts.length; ++i) {
            vm.expectRevert(abi.encodeWithSelector(IGroup.InvalidAmount.selector, amounts[i]));
            group.fund{value: amounts[i]}(PROCESS);
        }
    }

    function test_RefusesToOverfillATank() public {
        uint256 most = (2 ** 48 - 1) * 1 gwei;
        vm.deal(address(this), most + 1 gwei);
        group.fund{value: most}(PROCESS);
        vm.expectRevert(abi.encodeWithSelector(IGroup.InvalidAmount.selector, 1 gwei));
        group.fund{value: 1 gwei}(PROCESS);
        vm.assertEq(group.processInfo(PROCESS).tank, most);
        // The rest of the slot is as it was.
        vm.assertEq(group.processInfo(PROCESS).target, address(target));
        vm.assertEq(uint256(group.processInfo(PROCESS).gasLimit), GAS_LIMIT);
    }

    function test_RefusesAPlainTransfer() public {
        (bool success,) = address(group).call{value: 1 ether}("");
        vm.assertFalse(success);
    }

    /* WITHDRAW AND RECLAIM: REFUSALS */

    function testFuzz_RefusesToWithdrawNothing(address caller) public {
        vm.expectRevert(abi.encodeWithSelector(IGroup.NoCredit.selector, caller));
        vm.prank(caller);
        group.withdraw(caller);
    }

    function test_RefusesToWithdrawTwice() public {
        earn();
        vm.prank(DELIVERER);
        group.withdraw(DELIVERER);
        vm.expectRevert(abi.encodeWithSelector(IGroup.NoCredit.selector, DELIVERER));
        vm.prank(DELIVERER);
        group.withdraw(DELIVERER);
    }

    /// @dev The group itself takes no transfers, nor does a contract without a way to receive.
    function test_RefusesToWithdrawToWhoRefuses() public {
        uint256 held = earn();
        vm.expectRevert(abi.encodeWithSelector(IGroup.WithdrawalFailed.selector, address(group), held - 1));
        vm.prank(DELIVERER);
        group.withdraw(address(group));
        vm.assertEq(group.credit(DELIVERER), held);
    }

    function test_RefusesToWithdrawAgainFromInside() public {
        Thief thief = new Thief(group);
        group.fund{value: 1 ether}(PROCESS);
        post(box, ALICE, 5, "one");
        Signed memory signed = members.sign();
        thief.deliver(
            abi.encodeCall(group.deliver, (signed.checkpoint, signed.signature, list(members.batch(signed, box, 1))))
        );
        uint256 held = group.credit(address(thief));
        uint256 before = address(group).balance;
        thief.steal();
        vm.assertEq(address(thief).balance, held - 1);
        vm.assertEq(before - address(group).balance, held - 1);
        vm.assertFalse(thief.stole());
    }

    function test_RefusesToReclaimFromALiveProcess() public {
        group.fund{value: 1 ether}(PROCESS);
        vm.expectRevert(abi.encodeWithSelector(IGroup.NotClosed.selector, address(target), PROCESS, Status.Alive));
        vm.prank(address(target));
        group.reclaim();
    }

    function test_RefusesToReclaimForAnother() public {
        group.fund{value: 1 ether}(PROCESS);
        close();
        vm.expectRevert(abi.encodeWithSelector(IGroup.NotClosed.selector, address(other), OTHER, Status.Alive));
        vm.prank(address(other));
        group.reclaim();
        vm.expectRevert(abi.encodeWithSelector(IGroup.NotClosed.selector, address(this), bytes32(0), Status.None));
        group.reclaim();
    }

    /// @dev A closing takes effect in the delivery whose gas the tank owes: it cannot be emptied before that is paid.
    function test_RefusesToReclaimWhileAProcessRuns() public {
        group.fund{value: 1 ether}(PROCESS);
        members.post(box, MessageKind.CLOSE, 0, 0, 0, "");
        target.setMode(MockProcess.Mode.Reenter);
        target.setReentry(abi.encodeCall(group.reclaim, ()));
        other.setMode(MockProcess.Mode.Reenter);
        post(otherBox, ALICE, 5, "");
        Signed memory signed = members.sign();
        // The other process calls the first one's contract, which is closed by then, to reclaim.
        other.setReentry(abi.encodeCall(group.reclaim, ()));
        deliverAs(signed, list(members.batch(signed, box, 1), members.batch(signed, otherBox, 1)));
        vm.assertFalse(other.reentered());
        vm.assertTrue(group.credit(DELIVERER) != 0);
    }

    /* REPAID */

    function testFuzz_Funds(uint48 first, uint48 second) public {
        first = uint48(bound(first, 1, 2 ** 47));
        second = uint48(bound(second, 1, 2 ** 47 - 1));
        vm.deal(address(this), 2 ** 48 * 1 gwei);
        vm.expectEmit(address(group));
        emit IGroup.Funded(PROCESS, address(this), uint256(first) * 1 gwei);
        group.fund{value: uint256(first) * 1 gwei}(PROCESS);
        group.fund{value: uint256(second) * 1 gwei}(PROCESS);
        vm.assertEq(group.processInfo(PROCESS).tank, (uint256(first) + second) * 1 gwei);
    }

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

    /* WITHDRAWN */

    function test_WithdrawsToAnyone() public {
        uint256 held = earn();
        address to = address(0x7071);
        vm.expectEmit(address(group));
        emit IGroup.Withdrawn(DELIVERER, to, held - 1);
        vm.prank(DELIVERER);
        vm.assertEq(group.withdraw(to), held - 1);
        vm.assertEq(to.balance, held - 1);
        vm.assertEq(group.credit(DELIVERER), 1);
    }

    function test_WithdrawsWhileHalted() public {
        uint256 held = earn();
        decide(GovernanceKind.HALT, "");
        group.fund{value: 1 gwei}(PROCESS);
        vm.prank(DELIVERER);
        group.withdraw(DELIVERER);
        vm.assertEq(DELIVERER.balance, held - 1);
    }

    function test_ReclaimsTheTankOfAClosedProcess() public {
        group.fund{value: 1 ether}(PROCESS);
        close();
        uint256 left = group.processInfo(PROCESS).tank;
        vm.prank(address(target));
        vm.assertEq(group.reclaim(), left);
        vm.assertEq(group.processInfo(PROCESS).tank, 0);
        vm.assertEq(group.credit(address(target)), left);
    }

    /* HELPERS */

    function earn() private returns (uint256) {
        group.fund{value: 1 ether}(PROCESS);
        post(box, ALICE, 5, "one");
        Signed memory signed = members.sign();
        deliverAs(signed, list(members.batch(signed, box, 1)));
        return group.credit(DELIVERER);
    }

    function close() private {
        members.post(box, MessageKind.CLOSE, 0, 0, 0, "");
        deliver(box, members.count(box) - 1);
    }

    function deliverAs(Signed memory signed, Batch[] memory batches) private {
        vm.prank(DELIVERER);
        group.deliver(signed.checkpoint, signed.signature, batches);
    }

    function apartBy(uint256 left, uint256 right) private pure returns (uint256) {
        return left > right ? left - right : right - left;
    }
}

/// @notice A deliverer that withdraws again while it is paid.
contract Thief {
    IGroup private immutable GROUP;
    bool public stole;

    constructor(IGroup group) {
        GROUP = group;
    }

    function deliver(bytes calldata call) external {
        (bool success,) = address(GROUP).call(call);
        require(success);
    }

    function steal() external {
        GROUP.withdraw(address(this));
    }

    receive() external payable {
        (stole,) = address(GROUP).call(abi.encodeCall(GROUP.withdraw, (address(this))));
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
