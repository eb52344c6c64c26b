// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import {ERC20} from "@openzeppelin/contracts/token/ERC20/ERC20.sol";
import {ERC20Permit} from "@openzeppelin/contracts/token/ERC20/extensions/ERC20Permit.sol";
import {ERC20Bridgeable} from "@openzeppelin/contracts/token/ERC20/extensions/draft-ERC20Bridgeable.sol";
import {ERC20TemporaryApproval} from "@openzeppelin/contracts/token/ERC20/extensions/draft-ERC20TemporaryApproval.sol";
import {LibClone} from "solady/utils/LibClone.sol";
import {LibString} from "solady/utils/LibString.sol";

import {IAccounts} from "../interfaces/IAccounts.sol";
import {IAsset} from "../interfaces/IAsset.sol";
import {IAssets} from "../interfaces/IAssets.sol";
import {IGroup} from "../interfaces/IGroup.sol";

/// @title The token of one ledger asset. What it promises stands at `IAsset`.
/// @dev Runs behind clones, whose immutable argument is the asset. The implementation itself is a token of no asset: its
/// registry knows it as none, so it never has a supply.
contract Asset is IAsset, ERC20Permit, ERC20Bridgeable, ERC20TemporaryApproval {
    /// @inheritdoc IAsset
    address public immutable registry;

    /// @dev Who governs names.
    IGroup private immutable GROUP;

    /// @dev Created by the registry. The name of the ERC-20 is overridden below.
    constructor(IGroup group) ERC20("", "") ERC20Permit("Lockstep asset") {
        registry = msg.sender;
        GROUP = group;
    }

    /* TO THE LEDGER */

    /// @inheritdoc IAsset
    function toLedger(bytes calldata recipient, uint256 amount, bytes calldata memo) external returns (uint64 nonce) {
        if (amount == type(uint256).max) amount = balanceOf(msg.sender);
        _burn(msg.sender, amount);
        return IAssets(registry).payOut(asset(), msg.sender, amount, recipient, memo);
    }

    /// @inheritdoc IAsset
    function transferWithExtra(address to, uint256 amount, bytes calldata extra) external returns (bool) {
        bytes32 user = IAccounts(registry).userOf(to);
        require(user != 0, IAssets.NotAccount(to));
        _burn(msg.sender, amount);
        IAssets(registry).payOut(asset(), msg.sender, amount, abi.encode(user), extra);
        return true;
    }

    /* VIEWS */

    /// @inheritdoc IAsset
    function asset() public view returns (bytes32) {
        return bytes32(LibClone.argsOnClone(address(this), 0, 32));
    }

    /// @notice As the group governs it; else "Ledger asset" and the first 4 bytes of the id.
    function name() public view override returns (string memory) {
        (string memory governed,) = GROUP.assetInfo(asset());
        return bytes(governed).length != 0 ? governed : string.concat("Ledger asset ", _short());
    }

    /// @notice As the group governs it; else "LS-" and the first 4 bytes of the id.
    function symbol() public view override returns (string memory) {
        (, string memory governed) = GROUP.assetInfo(asset());
        return bytes(governed).length != 0 ? governed : string.concat("LS-", _short());
    }

    /// @notice 8, as on the ledger.
    function decimals() public pure override returns (uint8) {
        return 8;
    }

    /// @notice Includes temporary approvals of this transaction.
    function allowance(address owner, address spender)
        public
        view
        override(ERC20, ERC20TemporaryApproval)
        returns (uint256)
    {
        return super.allowance(owner, spender);
    }

    /* INTERNALS */

    function _spendAllowance(address owner, address spender, uint256 value)
        internal
        override(ERC20, ERC20TemporaryApproval)
    {
        super._spendAllowance(owner, spender, value);
    }

    function _checkTokenBridge(address caller) internal view override {
        require(caller == registry, OnlyRegistry(caller));
    }

    function _short() private view returns (string memory) {
        return LibString.toHexStringNoPrefix(uint256(asset()) >> 224, 4);
    }
}
