// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.28;

import {IGroup} from "../src/interfaces/IGroup.sol";
import {Status} from "../src/types/Messages.sol";
import {TankTest} from "./helpers/TankTest.sol";

/// @notice `fund`: anyone fills a tank.
contract FundTest is TankTest {
    /* REFUSALS */

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

    /* FUNDED */

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
}
