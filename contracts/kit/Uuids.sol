// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.28;

/// @title UUIDs, as the ledger shows its users, and accounts, as contracts see them.
library Uuids {
    /// @notice The text is not 32 hex digits with dashes at their four places.
    error NoUuid(string text);

    /// @notice The account, or process, of a ledger user: the UUID's 16 bytes at the right of 32.
    function parse(string memory text) internal pure returns (bytes32) {
        bytes memory characters = bytes(text);
        require(characters.length == 36, NoUuid(text));
        uint256 value;
        for (uint256 i; i < 36; ++i) {
            if (i == 8 || i == 13 || i == 18 || i == 23) {
                require(characters[i] == "-", NoUuid(text));
            } else {
                value = value << 4 | _digit(uint8(characters[i]), text);
            }
        }
        return bytes32(value);
    }

    function _digit(uint8 character, string memory text) private pure returns (uint256) {
        if (character >= 0x30 && character <= 0x39) return character - 0x30;
        uint8 lower = character | 0x20;
        require(lower >= 0x61 && lower <= 0x66, NoUuid(text));
        return lower - 0x61 + 10;
    }
}
