// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.28;

/// @title Payees of a payout.
library Recipients {
    /// @dev Most members of a set that the ledger can pay: its scripts hold a threshold of at most 64.
    uint256 private constant MEMBERS_MAX = 64;

    /// @dev Whether `recipient` is a 32-byte account other than zero, or a MIX payload: version 2, threshold, count, then
    /// 16 bytes a user or 64 bytes an address. No MIX payload has 32 bytes. Equal members are found by the group.
    function isWellFormed(bytes calldata recipient) internal pure returns (bool) {
        if (recipient.length == 32) return bytes32(recipient) != 0;
        if (recipient.length < 3 || recipient[0] != 0x02) return false;
        uint256 threshold = uint8(recipient[1]);
        uint256 count = uint8(recipient[2]);
        if (threshold == 0 || threshold > count || count > MEMBERS_MAX) return false;
        uint256 members = recipient.length - 3;
        return members == count * 16 || members == count * 64;
    }
}
