// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.28;

import {IGroup} from "../src/interfaces/IGroup.sol";
import {GovernanceKind, MessageKind} from "../src/types/Messages.sol";
import {GroupTest} from "./helpers/GroupTest.sol";
import {Signed} from "./helpers/Members.sol";
import {Signer} from "./helpers/Signer.sol";
import {MockProcess} from "./mocks/MockProcess.sol";

/// @notice What stopped MVM's contracts, or could have, stops nothing here. Those of accounts and storage are tested there.
contract MvmStopsTest is GroupTest {
    uint256 private box;
    MockProcess private target;

    function setUp() public override {
        super.setUp();
        (box, target) = newLiveProcess(PROCESS);
    }

    /// @dev Three megabytes of revert data, which a caller that copies them would run out of gas with.
    function test_ThreeMegabytesOfRevertData() public {
        Bomb bomb = new Bomb(group, OTHER);
        uint256 bombBox = members.open(OTHER);
        members.register(bombBox, address(bomb), 0, 8_000_000);
        members.post(bombBox, MessageKind.CALL, ALICE, XIN, 5, "");
        post(box, BOB, 7, "beside it");
        Signed memory signed = members.sign();
        expectRefund(0, OTHER, ALICE, 5, 1);
        deliver(signed, list(members.batch(signed, bombBox, 0), members.batch(signed, box, 1)));
        vm.assertEq(target.received(), 1);
    }

    /// @dev A failing call with a payload of 128 to 256 bytes, whose length MVM wrote as one signed byte.
    function test_APayloadOf128To256BytesOfAFailingCall() public {
        target.setMode(MockProcess.Mode.Revert);
        for (uint64 length = 127; length <= 257; ++length) {
            post(box, ALICE, 5, new bytes(length));
        }
        deliver(box, 1);
        vm.assertEq(group.outboundNonce(), 131);
        vm.assertEq(group.head(PROCESS), members.headAt(box, 132));
        vm.assertEq(group.custody(PROCESS, XIN), 0);
    }

    /// @dev Nothing, and the most that a message can bring, twice over, on calls that succeed and that fail.
    function test_ZeroAndHugeAmounts() public {
        uint256 most = type(uint128).max;
        for (uint256 failing; failing < 2; ++failing) {
            target.setMode(failing == 0 ? MockProcess.Mode.Keep : MockProcess.Mode.Revert);
            uint256 first = members.count(box);
            members.post(box, MessageKind.CALL, ALICE, XIN, 0, "");
            members.post(box, MessageKind.CALL, ALICE, XIN, most, "");
            members.post(box, MessageKind.CALL, ALICE, XIN, most, "");
            deliver(box, first);
        }
        vm.assertEq(target.received(), 3);
        vm.assertEq(group.custody(PROCESS, XIN), 2 * most);
        vm.assertEq(group.outboundNonce(), 2);
    }

    /// @dev MVM's halt was a toggle over words without a number: whoever repeated it turned it back.
    function test_AHaltThatIsRepeated() public {
        bytes memory signature = Signer.sign(SECRET, decisionDigest(0, GovernanceKind.HALT, ""));
        group.govern(0, GovernanceKind.HALT, "", signature);
        vm.expectRevert(abi.encodeWithSelector(IGroup.WrongGovernanceNonce.selector, 1, 0));
        group.govern(0, GovernanceKind.HALT, "", signature);
        vm.assertTrue(group.halted());
    }
}

/// @notice Reverts with three megabytes.
contract Bomb {
    constructor(IGroup group, bytes32 process) {
        group.bind(process);
    }

    fallback() external {
        assembly {
            revert(0, 3000000)
        }
    }
}
