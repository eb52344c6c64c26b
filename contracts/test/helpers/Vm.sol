// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.28;

/// @notice A log as `Vm.getRecordedLogs` returns it.
struct Log {
    bytes32[] topics;
    bytes data;
    address emitter;
}

/// @notice The part of forge's cheat codes that the tests and scripts here use.
interface Vm {
    /* Calls */
    function prank(address sender) external;
    function startPrank(address sender) external;
    function stopPrank() external;
    function expectRevert() external;
    function expectRevert(bytes4 selector) external;
    function expectRevert(bytes calldata data) external;
    function expectEmit() external;
    function expectEmit(address emitter) external;
    function recordLogs() external;
    function getRecordedLogs() external returns (Log[] memory logs);
    function mockCall(address callee, bytes calldata data, bytes calldata returned) external;
    function clearMockedCalls() external;

    /* State */
    function getCode(string calldata artifact) external view returns (bytes memory code);
    function etch(address target, bytes calldata code) external;
    function snapshotState() external returns (uint256 id);
    function revertToState(uint256 id) external returns (bool success);
    function chainId(uint256 id) external;
    function warp(uint256 time) external;
    function deal(address account, uint256 balance) external;
    function fee(uint256 baseFee) external;
    function txGasPrice(uint256 price) external;
    function computeCreateAddress(address deployer, uint256 nonce) external pure returns (address made);
    function load(address target, bytes32 slot) external view returns (bytes32 value);
    function store(address target, bytes32 slot, bytes32 value) external;
    function snapshotGasLastCall(string calldata name) external returns (uint256 gas);

    /* Wallets */
    function addr(uint256 key) external pure returns (address wallet);
    function sign(uint256 key, bytes32 digest) external pure returns (uint8 v, bytes32 r, bytes32 s);

    /* Input */
    function assume(bool condition) external pure;

    /* Claims */
    function assertTrue(bool condition) external pure;
    function assertTrue(bool condition, string calldata claim) external pure;
    function assertFalse(bool condition) external pure;
    function assertFalse(bool condition, string calldata claim) external pure;
    function assertEq(uint256 left, uint256 right) external pure;
    function assertEq(uint256 left, uint256 right, string calldata claim) external pure;
    function assertEq(bytes32 left, bytes32 right) external pure;
    function assertEq(bytes32 left, bytes32 right, string calldata claim) external pure;
    function assertEq(address left, address right) external pure;
    function assertEq(bytes calldata left, bytes calldata right) external pure;
    function assertEq(bytes calldata left, bytes calldata right, string calldata claim) external pure;
    function assertLe(uint256 left, uint256 right, string calldata claim) external pure;
    function assertLt(uint256 left, uint256 right, string calldata claim) external pure;

    /* Files and environment */
    function readFile(string calldata path) external view returns (string memory text);
    function writeFile(string calldata path, string calldata text) external;
    function envString(string calldata name) external view returns (string memory value);
    function envBytes32(string calldata name) external view returns (bytes32 value);
    function envAddress(string calldata name) external view returns (address value);
    function envOr(string calldata name, address fallback_) external view returns (address value);
    function keyExistsToml(string calldata text, string calldata key) external view returns (bool exists);
    function parseTomlUint(string calldata text, string calldata key) external pure returns (uint256 value);
    function parseTomlBytes32(string calldata text, string calldata key) external pure returns (bytes32 value);
    function parseTomlBytes(string calldata text, string calldata key) external pure returns (bytes memory value);
    function parseTomlAddress(string calldata text, string calldata key) external pure returns (address value);
    function keyExistsJson(string calldata text, string calldata key) external view returns (bool exists);
    function parseJsonUint(string calldata text, string calldata key) external pure returns (uint256 value);
    function parseJsonBytes32(string calldata text, string calldata key) external pure returns (bytes32 value);
    function parseJsonBytes32Array(string calldata text, string calldata key) external pure returns (bytes32[] memory);
    function parseJsonBytes(string calldata text, string calldata key) external pure returns (bytes memory value);
    function parseJsonBool(string calldata text, string calldata key) external pure returns (bool value);
    function parseJsonString(string calldata text, string calldata key) external pure returns (string memory value);
    function parseJsonAddress(string calldata text, string calldata key) external pure returns (address value);
    function serializeUint(string calldata object, string calldata key, uint256 value)
        external
        returns (string memory json);
    function serializeBytes32(string calldata object, string calldata key, bytes32 value)
        external
        returns (string memory json);
    function serializeAddress(string calldata object, string calldata key, address value)
        external
        returns (string memory json);
    function toString(uint256 value) external pure returns (string memory text);

    /* Scripts */
    function startBroadcast() external;
    function stopBroadcast() external;
}
