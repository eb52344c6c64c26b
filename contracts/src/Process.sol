// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.28;

import {IGroup} from "./interfaces/IGroup.sol";
import {IProcess} from "./interfaces/IProcess.sol";
import {Message, MessageKind} from "./types/Messages.sol";

/// @title Base of a developer contract.
/// @notice Binds to its process when it is deployed, takes messages from the group only, and sends payouts.
/// @dev Deploy it before paying for the registration on the ledger: the registration finds it bound. `process` is the
/// ledger user who pays for the registration, as 32 bytes with the UUID at the right.
abstract contract Process is IProcess {
    /// @notice The group contract of this chain.
    IGroup public immutable group;

    /// @notice The process that this contract serves.
    bytes32 public immutable process;

    /// @notice Somebody other than the group called.
    error OnlyGroup(address caller);

    constructor(IGroup group_, bytes32 process_) {
        group = group_;
        process = process_;
        group_.bind(process_);
    }

    modifier onlyGroup() {
        _checkGroup();
        _;
    }

    /// @inheritdoc IProcess
    function onMessage(Message calldata message) external onlyGroup {
        if (message.kind == MessageKind.BOUNCE) _onBounce(message);
        else _onMessage(message);
    }

    /// @notice A payment with a payload. Its amount is in this process's custody already.
    /// @dev Revert to refuse it: the payment goes back to its sender.
    function _onMessage(Message calldata message) internal virtual;

    /// @notice A payout came back, and its amount is in custody again. Which payout it was is not known.
    /// @dev Does nothing by default. Reverting changes nothing: the amount stays.
    function _onBounce(Message calldata message) internal virtual {}

    /// @notice Pays `amount` of `asset` to a 32-byte account, such as `message.sender`.
    function _send(bytes32 asset, uint256 amount, bytes32 account, bytes memory memo) internal returns (uint64 nonce) {
        return _send(asset, amount, abi.encode(account), memo);
    }

    /// @notice Pays `amount` of `asset` to a 32-byte account or a MIX payload. See `IGroup.send`.
    function _send(bytes32 asset, uint256 amount, bytes memory recipient, bytes memory memo)
        internal
        returns (uint64 nonce)
    {
        return group.send(asset, amount, recipient, memo);
    }

    function _checkGroup() private view {
        require(msg.sender == address(group), OnlyGroup(msg.sender));
    }
}
