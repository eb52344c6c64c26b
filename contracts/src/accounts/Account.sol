// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import {IERC1271} from "@openzeppelin/contracts/interfaces/IERC1271.sol";
import {IERC721Receiver} from "@openzeppelin/contracts/token/ERC721/IERC721Receiver.sol";
import {ERC1155Holder} from "@openzeppelin/contracts/token/ERC1155/utils/ERC1155Holder.sol";
import {ERC721Holder} from "@openzeppelin/contracts/token/ERC721/utils/ERC721Holder.sol";
import {IERC7674} from "@openzeppelin/contracts/interfaces/draft-IERC7674.sol";
import {LibClone} from "solady/utils/LibClone.sol";

import {IAccount} from "../interfaces/IAccount.sol";
import {IStorage} from "../interfaces/IStorage.sol";
import {Calls} from "./Calls.sol";
import {Orders} from "./Orders.sol";

/// @title The smart account of one ledger user. What it promises stands at `IAccount`.
/// @dev Runs behind clones, whose immutable argument is the user. Never delegates, never destroys itself, and cannot be
/// changed. The implementation itself obeys its registry as clones do, which never calls it.
contract Account is IAccount, ERC721Holder, ERC1155Holder {
    /// @inheritdoc IAccount
    address public immutable registry;

    /// @dev Where stored orders are.
    IStorage private immutable PAYLOADS;

    /// @dev What pointers to stored orders begin with.
    bytes32 private immutable PROCESS;

    /// @dev What `isValidSignature` accepts.
    mapping(bytes32 hash => bool) private _approved;

    modifier onlySelf() {
        require(msg.sender == address(this), OnlySelf(msg.sender));
        _;
    }

    /// @dev Created by the registry.
    constructor(IStorage payloads, bytes32 process) {
        (registry, PAYLOADS, PROCESS) = (msg.sender, payloads, process);
    }

    receive() external payable {}

    /* ORDERS */

    /// @inheritdoc IAccount
    function run(bytes calldata payload, address token, uint256 amount) external returns (bool keep) {
        require(msg.sender == registry, OnlyRegistry(msg.sender));
        bytes memory order = _load(payload);
        uint256 count;
        address spender;
        uint256 cursor;
        (keep, count, spender, cursor) = Orders.open(order);
        bool lends = amount != 0 && spender != address(0);
        if (lends) IERC7674(token).temporaryApprove(spender, amount);
        for (uint256 i; i < count; ++i) {
            (address target, uint256 data, uint256 length, uint256 next) = Orders.call(order, cursor);
            require(target.code.length != 0, NoCode(target));
            if (!Calls.call(target, 0, data, length)) revert CallFailed(i, target, Calls.reason(Calls.NESTED_MAX));
            cursor = next;
        }
        Orders.close(order, cursor);
        // The transaction may go on with other messages: nothing stays approved.
        if (lends) IERC7674(token).temporaryApprove(spender, 0);
    }

    /// @inheritdoc IAccount
    function transact(address target, uint256 value, bytes calldata data) external onlySelf {
        // Coin without data may go to a wallet.
        require(data.length == 0 || target.code.length != 0, NoCode(target));
        bytes memory copy = data;
        uint256 offset;
        assembly ("memory-safe") {
            offset := add(copy, 0x20)
        }
        bool success = Calls.call(target, value, offset, copy.length);
        if (!success) revert CallFailed(type(uint256).max, target, Calls.reason(Calls.NESTED_MAX));
    }

    /* SIGNATURES */

    /// @inheritdoc IAccount
    function approveHash(bytes32 hash, bool approved) external onlySelf {
        _approved[hash] = approved;
    }

    /// @inheritdoc IAccount
    function isValidSignature(bytes32 hash, bytes calldata) external view returns (bytes4) {
        return _approved[hash] ? IERC1271.isValidSignature.selector : bytes4(0xffffffff);
    }

    /* VIEWS */

    /// @inheritdoc IAccount
    function user() external view returns (bytes32) {
        return bytes32(LibClone.argsOnClone(address(this), 0, 32));
    }

    /// @notice ERC-165: ERC-1271 and the receivers of ERC-721 and ERC-1155.
    function supportsInterface(bytes4 id) public view override returns (bool) {
        return
            id == type(IERC1271).interfaceId || id == type(IERC721Receiver).interfaceId || super.supportsInterface(id);
    }

    /* INTERNALS */

    /// @dev The order itself, or the one that it points to.
    function _load(bytes calldata payload) private view returns (bytes memory) {
        if (!Orders.isPointer(payload, PROCESS)) return payload;
        (address named, bytes32 key) = Orders.pointer(payload);
        require(named == address(PAYLOADS), ForeignStorage(named));
        return PAYLOADS.read(key);
    }
}
