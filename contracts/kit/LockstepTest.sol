// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.28;

import {Test} from "../test/helpers/Test.sol";
import {FakeGroup, Payout} from "./FakeGroup.sol";

/// @title Base of a developer contract's tests: a group that delivers what the test says.
/// @notice It has no cheat codes of its own, so inherit a `Test` beside it: the one that comes with this file, or that of
/// forge-std.
abstract contract LockstepTest {
    /// @notice The group contract of the test. Pass it to the contract under test as it is.
    FakeGroup internal group = new FakeGroup();

    /// @notice The account of a ledger user, by a name that only this test knows.
    function account(string memory name) internal pure returns (bytes32) {
        return bytes32(uint256(uint128(uint256(keccak256(bytes(name))))));
    }

    /// @notice An asset of the ledger, by a name that only this test knows.
    function asset(string memory name) internal pure returns (bytes32) {
        return keccak256(bytes(name));
    }
}
