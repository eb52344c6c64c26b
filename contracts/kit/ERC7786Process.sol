// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.28;

import {ERC7786Recipient} from "@openzeppelin/contracts/crosschain/ERC7786Recipient.sol";
import {InteroperableAddress} from "@openzeppelin/contracts/utils/draft-InteroperableAddress.sol";

import {ERC7786Adapter} from "../src/ERC7786Adapter.sol";
import {IGroup} from "../src/interfaces/IGroup.sol";
import {Ledger} from "../src/libraries/Ledger.sol";

/// @title Base of a developer contract that speaks ERC-7786, and so other bridges beside Lockstep.
/// @notice Deploys its own adapter, which is what the ledger registers: the adapter is the process, its custody is this
/// contract's to spend. To trust other gateways as well, override `_isAuthorizedGateway` and `_processMessage`, and call
/// these for what comes from the adapter.
/// @dev A message costs about 2,000 gas more than with `Process`, and a payout 8,000. A payout that bounces is in custody
/// again, and shows as `Bounced` of the adapter; this contract is not called for it.
abstract contract ERC7786Process is ERC7786Recipient {
    /// @notice The gateway, and the address to register.
    ERC7786Adapter public immutable adapter;

    constructor(IGroup group, bytes32 process) {
        adapter = new ERC7786Adapter(group, process, this);
    }

    /// @notice A payment with a payload. Its amount is in the adapter's custody already.
    /// @dev Revert to refuse it.
    /// @param receiveId The message's leaf, which no other message has.
    /// @param account Who paid, zero for nobody.
    function _onPayment(bytes32 receiveId, bytes32 account, bytes32 asset, uint256 amount, bytes memory payload)
        internal
        virtual;

    /// @notice Pays out of custody, as `Process._send` does.
    function _pay(bytes32 asset, uint256 amount, bytes32 account, bytes memory memo) internal {
        bytes[] memory attributes = new bytes[](1);
        attributes[0] = abi.encodeWithSelector(Ledger.TRANSFER, asset, amount);
        adapter.sendMessage(InteroperableAddress.formatV1(Ledger.CHAIN_TYPE, "", abi.encode(account)), memo, attributes);
    }

    /// @inheritdoc ERC7786Recipient
    function _isAuthorizedGateway(address gateway, bytes calldata) internal view virtual override returns (bool) {
        return gateway == address(adapter);
    }

    /// @inheritdoc ERC7786Recipient
    function _processMessage(address, bytes32 receiveId, bytes calldata sender, bytes calldata payload)
        internal
        virtual
        override
    {
        (,, bytes memory account) = InteroperableAddress.parseV1(sender);
        (bytes32 asset, uint256 amount, bytes memory inner) = abi.decode(payload, (bytes32, uint256, bytes));
        _onPayment(receiveId, bytes32(account), asset, amount, inner);
    }
}
