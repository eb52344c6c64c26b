// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import {IERC20} from "@openzeppelin/contracts/interfaces/IERC20.sol";
import {IERC7802} from "@openzeppelin/contracts/interfaces/draft-IERC7802.sol";
import {LibClone} from "solady/utils/LibClone.sol";

import {Process} from "../Process.sol";
import {Assets} from "../assets/Assets.sol";
import {IAccount} from "../interfaces/IAccount.sol";
import {IAccounts} from "../interfaces/IAccounts.sol";
import {IGroup} from "../interfaces/IGroup.sol";
import {IStorage} from "../interfaces/IStorage.sol";
import {Message} from "../types/Messages.sol";
import {Account} from "./Account.sol";
import {Calls} from "./Calls.sol";

/// @title The process that gives each ledger user a smart account. What it promises stands at `IAccounts`.
contract Accounts is IAccounts, Assets {
    /// @inheritdoc IAccounts
    /// @dev Burning, paying out and the longest event take less than half of it; the tests sweep around it.
    uint256 public constant GAS_RESERVE = 100_000;

    /// @dev Purpose of an operation that marks a refund (MVM), as the group writes it.
    uint16 private constant PURPOSE_REFUND = 13;

    /// @inheritdoc IAccounts
    address public immutable accountImplementation;

    /// @inheritdoc IAccounts
    address public immutable payloads;

    /// @param group_ The group contract of this chain.
    /// @param process_ The ledger user who registers this contract, and may assign what came back.
    /// @param payloads_ The storage contract that orders may point to.
    constructor(IGroup group_, bytes32 process_, IStorage payloads_) Process(group_, process_) {
        payloads = address(payloads_);
        accountImplementation = address(new Account(payloads_, process_));
    }

    /* VIEWS */

    /// @inheritdoc IAccounts
    function accountOf(bytes32 user) external view returns (address account) {
        return _accountOf(user);
    }

    /// @inheritdoc IAccounts
    function userOf(address account) external view returns (bytes32 user) {
        return _userOf(account);
    }

    /* INTERNALS: MESSAGES */

    function _onMessage(Message calldata message) internal override {
        bytes32 user = message.sender;
        require(user != 0, NoSender(message.nonce));
        address account = _createAccount(user);
        (address token, uint256 before) = _credit(account, message.asset, message.amount);
        if (message.payload.length == 0) {
            emit Deposited(user, message.nonce, message.asset, message.amount);
            return;
        }
        (bool success, bool keep) = _run(account, message.payload, token, message.amount);
        if (success) {
            uint256 left = keep || token == address(0) ? 0 : _gain(token, account, before);
            _return(token, account, message, left);
            emit OrderRan(user, message.nonce, message.asset, left);
        } else {
            bytes memory reason = Calls.reason(Calls.REASON_MAX);
            _return(token, account, message, message.amount);
            emit OrderFailed(user, message.nonce, message.asset, message.amount, reason);
        }
    }

    function _createAccount(bytes32 user) private returns (address account) {
        bool exists;
        (exists, account) = LibClone.createDeterministicClone(accountImplementation, abi.encode(user), user);
        if (!exists) emit AccountCreated(user, account);
    }

    /// @dev Mints what a message brought.
    /// @return token Zero where it brought nothing.
    /// @return before What the account had.
    function _credit(address account, bytes32 asset, uint256 amount) private returns (address token, uint256 before) {
        if (amount == 0) return (token, before);
        token = createToken(asset);
        before = IERC20(token).balanceOf(account);
        IERC7802(token).crosschainMint(account, amount);
    }

    /// @dev Lets the account run an order, with all gas but the reserve. Whatever the payload is, this returns.
    function _run(address account, bytes calldata payload, address token, uint256 amount)
        private
        returns (bool success, bool keep)
    {
        bytes memory data = abi.encodeCall(IAccount.run, (payload, token, amount));
        assembly ("memory-safe") {
            let left := gas()
            let limit := mul(gt(left, GAS_RESERVE), sub(left, GAS_RESERVE))
            success := call(limit, account, 0, add(data, 0x20), mload(data), 0x00, 0x20)
            keep := and(success, mload(0x00))
        }
    }

    function _gain(address token, address account, uint256 before) private view returns (uint256) {
        uint256 balance = IERC20(token).balanceOf(account);
        return balance > before ? balance - before : 0;
    }

    /// @dev Burns from the account what goes back to its user.
    function _return(address token, address account, Message calldata message, uint256 amount) private {
        if (amount == 0) return;
        IERC7802(token).crosschainBurn(account, amount);
        bytes memory memo =
            abi.encodePacked(PURPOSE_REFUND, uint128(uint256(process)), uint16(0), uint16(0), uint16(8), message.nonce);
        _send(message.asset, amount, message.sender, memo);
    }

    /* INTERNALS: ADDRESSES */

    function _accountOf(bytes32 user) internal view override returns (address) {
        return _clone(accountImplementation, user);
    }

    function _userOf(address account) internal view override returns (bytes32) {
        return _argument(accountImplementation, account);
    }
}
