// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.28;

import {SSTORE2} from "solady/utils/SSTORE2.sol";

import {IGroup} from "../interfaces/IGroup.sol";
import {GroupSignature} from "../libraries/GroupSignature.sol";
import {GovernanceKind} from "../types/Messages.sol";
import {GroupBase} from "./GroupBase.sol";

/// @title What the group decides for this contract alone: halt, key, names of assets, limits of repayment.
abstract contract Governance is GroupBase {
    struct Asset {
        string name;
        string symbol;
    }

    /// @dev First word of what members sign to govern.
    bytes32 private constant GOVERN_DOMAIN = keccak256("lockstep/v1/govern");

    /// @dev First word of what a new key signs.
    bytes32 private constant POSSESSION_DOMAIN = keccak256("lockstep/v1/possession");

    /// @dev Bytes of an asset's name and symbol, at most. They end in tokens, whose readers pay for them.
    uint256 private constant NAME_MAX = 64;
    uint256 private constant SYMBOL_MAX = 16;

    /* STORAGE: GOVERNANCE (one slot, then what is rarely used) */

    /// @inheritdoc IGroup
    uint64 public governanceNonce;
    /// @inheritdoc IGroup
    uint64 public keyGeneration;
    /// @dev See `repayLimits`. To begin with, a tenth of a gwei and the floor price of a byte (EIP-7623).
    uint64 internal _tipWei = 0.1 gwei;
    uint32 internal _gasPerByte = 40;

    /// @dev Where the key is while halted, else zero.
    address private _haltedKeyStore;

    mapping(bytes32 asset => Asset) private _assets;

    /* ENTRY POINTS */

    /// @inheritdoc IGroup
    function govern(uint64 nonce, uint8 kind, bytes calldata data, bytes calldata signature)
        external
        outsideOfDelivery
    {
        uint64 next = governanceNonce;
        require(nonce == next, WrongGovernanceNonce(next, nonce));
        bytes32 digest = keccak256(
            abi.encode(GOVERN_DOMAIN, groupId, block.chainid, address(this), instance, nonce, kind, keccak256(data))
        );
        require(GroupSignature.isValid(digest, signature, _currentKeyStore()), InvalidSignature());
        governanceNonce = nonce + 1;
        if (kind == GovernanceKind.HALT) _halt(data);
        else if (kind == GovernanceKind.RESUME) _resume(data);
        else if (kind == GovernanceKind.ROTATE) _rotate(data);
        else if (kind == GovernanceKind.ASSET) _describe(data);
        else if (kind == GovernanceKind.REPAY) (_tipWei, _gasPerByte) = abi.decode(data, (uint64, uint32));
        else revert UnknownGovernanceKind(kind);
        emit Governed(nonce, kind, data);
    }

    /// @inheritdoc IGroup
    function recover(uint64 generation, bytes calldata key_, bytes calldata possession) external outsideOfDelivery {
        require(msg.sender == recovery, NotRecovery(msg.sender));
        uint16 today = _today();
        uint16 silent;
        unchecked {
            silent = today - _acceptedDay;
        }
        // The first and the last day are parts of days.
        require(silent > silenceDays, NotSilent(silent, silenceDays));
        _acceptedDay = today;
        _setKey(generation, key_, possession);
        emit Recovered(generation, key_);
    }

    /* VIEWS */

    /// @inheritdoc IGroup
    function key() external view returns (bytes memory) {
        return SSTORE2.read(_currentKeyStore(), GroupSignature.KEY_OFFSET);
    }

    /// @inheritdoc IGroup
    function lastAcceptedDay() external view returns (uint16) {
        return _acceptedDay;
    }

    /// @inheritdoc IGroup
    function repayLimits() external view returns (uint64 tipWei, uint32 gasPerByte) {
        return (_tipWei, _gasPerByte);
    }

    /// @inheritdoc IGroup
    function assetInfo(bytes32 asset) external view returns (string memory name, string memory symbol) {
        Asset storage info = _assets[asset];
        return (info.name, info.symbol);
    }

    /* INTERNALS */

    function _halt(bytes calldata data) private {
        require(data.length == 0, InvalidGovernance());
        if (halted()) return;
        (_haltedKeyStore, _keyStore) = (_keyStore, address(0));
        // No checkpoint passes without a look at the key any more.
        checkpointDigest = 0;
    }

    function _resume(bytes calldata data) private {
        require(data.length == 0, InvalidGovernance());
        if (!halted()) return;
        (_keyStore, _haltedKeyStore) = (_haltedKeyStore, address(0));
    }

    function _rotate(bytes calldata data) private {
        (uint64 generation, bytes memory key_, bytes memory possession) = abi.decode(data, (uint64, bytes, bytes));
        _setKey(generation, key_, possession);
    }

    function _describe(bytes calldata data) private {
        (bytes32 asset, string memory name, string memory symbol) = abi.decode(data, (bytes32, string, string));
        require(asset != 0 && bytes(name).length <= NAME_MAX && bytes(symbol).length <= SYMBOL_MAX, InvalidGovernance());
        _assets[asset] = Asset(name, symbol);
    }

    /// @dev Takes a key whose secret somebody has shown to hold. A halted contract stays halted.
    function _setKey(uint64 generation, bytes memory key_, bytes memory possession) private {
        require(generation > keyGeneration, StaleGeneration(keyGeneration, generation));
        require(GroupSignature.isValidKey(key_), InvalidKey());
        address store = SSTORE2.write(GroupSignature.prepare(key_));
        bytes32 digest = keccak256(
            abi.encode(POSSESSION_DOMAIN, groupId, block.chainid, address(this), instance, generation, keccak256(key_))
        );
        require(GroupSignature.isValidInMemory(digest, possession, store), InvalidPossession());
        keyGeneration = generation;
        if (halted()) _haltedKeyStore = store;
        else _keyStore = store;
        checkpointDigest = 0;
    }

    function _currentKeyStore() private view returns (address store) {
        store = _keyStore;
        if (store == address(0)) store = _haltedKeyStore;
    }
}
