// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.28;

import {Vm} from "../test/helpers/Vm.sol";

/// @notice Base of the deploy scripts. Who pays is for forge to know: `--private-key`, `--ledger`, `--unlocked`.
abstract contract BaseScript {
    // forge-lint: disable-next-line(screaming-snake-case-const)
    Vm internal constant vm = Vm(address(uint160(uint256(keccak256("hevm cheat code")))));

    // forge-lint: disable-next-line(screaming-snake-case-const)
    bool public constant IS_SCRIPT = true;

    modifier broadcast() {
        vm.startBroadcast();
        _;
        vm.stopBroadcast();
    }
}
