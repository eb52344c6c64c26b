// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.28;

import {Vm} from "./Vm.sol";

/// @notice Base of all tests: the cheat codes, and a fuzzed number made to fit a range.
abstract contract Test {
    // forge-lint: disable-next-line(screaming-snake-case-const)
    Vm internal constant vm = Vm(address(uint160(uint256(keccak256("hevm cheat code")))));

    function bound(uint256 value, uint256 minimum, uint256 maximum) internal pure returns (uint256) {
        if (value >= minimum && value <= maximum) return value;
        uint256 range = maximum - minimum;
        return range == type(uint256).max ? value : minimum + value % (range + 1);
    }
}
