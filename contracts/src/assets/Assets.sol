// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import {IERC20} from "@openzeppelin/contracts/interfaces/IERC20.sol";
import {IERC7802} from "@openzeppelin/contracts/interfaces/draft-IERC7802.sol";
import {LibClone} from "solady/utils/LibClone.sol";

import {Process} from "../Process.sol";
import {IAssets} from "../interfaces/IAssets.sol";
import {Message} from "../types/Messages.sol";
import {Asset} from "./Asset.sol";

/// @title The tokens of a process. What they promise stands at `IAssets`.
abstract contract Assets is IAssets, Process {
    /// @inheritdoc IAssets
    address public immutable assetImplementation;

    constructor() {
        assetImplementation = address(new Asset(group));
    }

    /* VALUE */

    /// @inheritdoc IAssets
    function payOut(bytes32 asset, address holder, uint256 amount, bytes calldata recipient, bytes calldata memo)
        external
        returns (uint64 nonce)
    {
        require(msg.sender == tokenOf(asset), OnlyAsset(asset, msg.sender));
        nonce = _send(asset, amount, _payee(holder, recipient), memo);
        emit PaidOut(asset, holder, amount, nonce);
    }

    /// @inheritdoc IAssets
    function assign(bytes32 asset, bytes32 user, uint256 amount) external {
        require(msg.sender == _accountOf(process), OnlyRegistrar(msg.sender));
        address account = _accountOf(user);
        require(account.code.length != 0, UnknownUser(user));
        uint256 available = unassigned(asset);
        require(amount <= available, InsufficientUnassigned(asset, available, amount));
        IERC7802(createToken(asset)).crosschainMint(account, amount);
        emit Assigned(asset, user, amount);
    }

    /// @inheritdoc IAssets
    function createToken(bytes32 asset) public returns (address token) {
        bool exists;
        (exists, token) = LibClone.createDeterministicClone(assetImplementation, abi.encode(asset), asset);
        if (!exists) emit AssetCreated(asset, token);
    }

    /* VIEWS */

    /// @inheritdoc IAssets
    function tokenOf(bytes32 asset) public view returns (address token) {
        return _clone(assetImplementation, asset);
    }

    /// @inheritdoc IAssets
    function assetOf(address token) external view returns (bytes32 asset) {
        return _argument(assetImplementation, token);
    }

    /// @inheritdoc IAssets
    function unassigned(bytes32 asset) public view returns (uint256) {
        address token = tokenOf(asset);
        uint256 supply = token.code.length == 0 ? 0 : IERC20(token).totalSupply();
        return group.custody(process, asset) - supply;
    }

    /* INTERNALS */

    /// @dev Whose it was is not known: it stays unassigned.
    function _onBounce(Message calldata message) internal override {
        emit CameBack(message.asset, message.amount);
    }

    /// @dev Address of the account of a ledger user.
    function _accountOf(bytes32 user) internal view virtual returns (address);

    /// @dev Ledger user of an account, zero for any other address.
    function _userOf(address account) internal view virtual returns (bytes32);

    /// @dev Address of the clone of `implementation` with `argument` as argument and salt.
    function _clone(address implementation, bytes32 argument) internal view returns (address) {
        return LibClone.predictDeterministicAddress(implementation, abi.encode(argument), argument, address(this));
    }

    /// @dev The argument of a clone of `implementation` that this contract created, zero for any other address. Calls nothing.
    function _argument(address implementation, address clone) internal view returns (bytes32 argument) {
        // A clone has 45 bytes of code before its argument. Other code of that length has another address.
        if (clone.code.length != 45 + 32) return 0;
        argument = bytes32(LibClone.argsOnClone(clone, 0, 32));
        if (_clone(implementation, argument) != clone) return 0;
    }

    /// @dev Refuses what the ledger would send back without saying whose it was, as far as it can be known here.
    function _payee(address holder, bytes calldata recipient) private view returns (bytes memory) {
        if (recipient.length == 0) {
            bytes32 user = _userOf(holder);
            require(user != 0, NotAccount(holder));
            return abi.encode(user);
        }
        if (recipient.length == 32) {
            bytes32 user = bytes32(recipient);
            require(_accountOf(user).code.length != 0, UnknownUser(user));
        } else {
            _checkMembers(recipient);
        }
        return recipient;
    }

    /// @dev Of a MIX payload whose form the group contract checks: 2, threshold, count, then 16 bytes a user or 64 an address.
    function _checkMembers(bytes calldata mix) private pure {
        uint256 count = mix.length < 3 ? 0 : uint8(mix[2]);
        if (count < 2) return;
        uint256 size = (mix.length - 3) / count;
        if (size < 16) return;
        for (uint256 i = 1; i < count; ++i) {
            bytes calldata left = mix[3 + (i - 1) * size:3 + i * size];
            bytes calldata right = mix[3 + i * size:3 + (i + 1) * size];
            require(_isBelow(left, right), MembersNotAscending(i));
        }
    }

    function _isBelow(bytes calldata left, bytes calldata right) private pure returns (bool) {
        if (left.length != 64) return bytes16(left) < bytes16(right);
        bytes32 high = bytes32(left);
        if (high != bytes32(right)) return high < bytes32(right);
        return bytes32(left[32:]) < bytes32(right[32:]);
    }
}
