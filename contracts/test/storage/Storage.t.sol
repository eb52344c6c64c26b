// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.28;

import {IStorage} from "../../src/interfaces/IStorage.sol";
import {Test} from "../helpers/Test.sol";

/// @notice Payloads by their hash.
contract StorageTest is Test {
    uint256 private constant CHUNK = 24_575;

    IStorage private payloads;

    function setUp() public {
        payloads = IStorage(create("Storage.sol:Storage", ""));
    }

    /* WRITE */

    function test_RefusesNothing() public {
        vm.expectRevert(IStorage.Empty.selector);
        payloads.write("");
    }

    function test_RefusesMoreThanAPayload() public {
        vm.expectRevert(abi.encodeWithSelector(IStorage.TooLarge.selector, 65_537, 65_536));
        payloads.write(new bytes(65_537));
    }

    function testFuzz_NamesBytesByTheirHash(bytes calldata data) public {
        vm.assume(data.length != 0);
        vm.expectEmit(address(payloads));
        emit IStorage.Stored(keccak256(data), data.length);
        bytes32 key = payloads.write(data);
        vm.assertEq(key, keccak256(data));
        vm.assertEq(payloads.read(key), data);
        vm.assertEq(payloads.sizeOf(key), data.length);
    }

    function test_StoresTwiceWhatIsStoredOnce() public {
        bytes32 key = payloads.write("hello");
        vm.recordLogs();
        vm.assertEq(payloads.write("hello"), key);
        vm.assertEq(vm.getRecordedLogs().length, 0);
        vm.assertEq(payloads.read(key), "hello");
    }

    function test_StoresCodeThatDoesNotRun() public {
        // SELFDESTRUCT, if it ran.
        bytes32 key = payloads.write(hex"33ff");
        vm.assertEq(payloads.read(key), hex"33ff");
    }

    /* READ */

    function testFuzz_RefusesWhatIsNotStored(bytes32 key) public {
        vm.expectRevert(abi.encodeWithSelector(IStorage.NotStored.selector, key));
        payloads.read(key);
        vm.assertEq(payloads.sizeOf(key), 0);
    }

    /* CHUNKS */

    function test_JoinsChunksAtTheirEdges() public {
        uint256[8] memory sizes = [1, CHUNK - 1, CHUNK, CHUNK + 1, 2 * CHUNK, 2 * CHUNK + 1, 65_535, 65_536];
        for (uint256 i; i < sizes.length; ++i) {
            joins(sizes[i], i);
        }
    }

    function testFuzz_JoinsChunks(uint256 size, uint256 seed) public {
        joins(bound(size, 1, 65_536), seed);
    }

    function joins(uint256 size, uint256 seed) private {
        bytes memory data = noise(size, seed);
        bytes32 key = payloads.write(data);
        vm.assertEq(key, keccak256(data));
        vm.assertEq(keccak256(payloads.read(key)), key);
        vm.assertEq(payloads.sizeOf(key), size);
    }

    /// @dev Bytes of which no two words are equal.
    function noise(uint256 size, uint256 seed) private pure returns (bytes memory data) {
        data = new bytes(size);
        bytes32 word = keccak256(abi.encode(seed));
        for (uint256 offset; offset + 32 <= size; offset += 32) {
            assembly {
                mstore(0x00, word)
                word := keccak256(0x00, 0x20)
                mstore(add(add(data, 0x20), offset), word)
            }
        }
    }
}
