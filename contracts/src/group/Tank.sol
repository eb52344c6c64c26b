// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.28;

import {IGroup} from "../interfaces/IGroup.sol";
import {Status} from "../types/Messages.sol";
import {Governance} from "./Governance.sol";
import {Processes} from "./Processes.sol";

/// @title What processes hold to repay those who deliver to them, and what these may withdraw.
/// @dev Tanks are counted in gwei, so that one fits beside the target of its process; credits are in wei.
abstract contract Tank is Governance, Processes {
    /// @dev Gas of a transaction before it does anything.
    uint256 internal constant GAS_TRANSACTION = 21_000;

    /// @dev Gas of the calldata that every delivery has: selector, checkpoint, signature, offsets and lengths. The rest of
    /// it, and of what follows, is measured: crediting the deliverer, the lock and the way in.
    uint256 private constant GAS_SHARED = 11_500;

    /// @dev Gas of a batch that is not measured, because what others have delivered before must not be repaid: the calldata
    /// of its words, reading its slots, its proof without the siblings, and taking the repayment from its tank.
    uint256 private constant GAS_BATCH = 10_000;

    /// @dev The same for a message: unpacking and hashing it.
    uint256 private constant GAS_MESSAGE = 400;

    /// @dev The same for a byte: calldata (EIP-2028), as if none were zero, and its way through memory.
    uint256 private constant GAS_BYTE = 17;

    /// @dev Words of memory of one bill: process, gas, bytes of calldata.
    uint256 internal constant BILL_SIZE = 0x60;

    /* STORAGE */

    mapping(address deliverer => uint256) private _credit;

    /* ENTRY POINTS */

    /// @inheritdoc IGroup
    function fund(bytes32 process) external payable {
        Process storage stored = _processes[process];
        require(stored.status == Status.Alive, NotLive(stored.target, process, stored.status));
        require(msg.value != 0 && msg.value % 1 gwei == 0, InvalidAmount(msg.value));
        uint256 tank = stored.tank + msg.value / 1 gwei;
        require(tank <= type(uint48).max, InvalidAmount(msg.value));
        stored.tank = uint48(tank);
        emit Funded(process, msg.sender, msg.value);
    }

    /// @inheritdoc IGroup
    function reclaim() external outsideOfDelivery returns (uint256 amount) {
        bytes32 process = processOf[msg.sender];
        Process storage stored = _processes[process];
        bool closed = stored.target == msg.sender && stored.status == Status.Closed;
        require(closed, NotClosed(msg.sender, process, stored.status));
        amount = uint256(stored.tank) * 1 gwei;
        stored.tank = 0;
        _credit[msg.sender] += amount;
    }

    /// @inheritdoc IGroup
    function withdraw(address to) external returns (uint256 amount) {
        uint256 held = _credit[msg.sender];
        require(held > 1, NoCredit(msg.sender));
        unchecked {
            // One wei stays, for a slot that is in use takes the next repayment for less.
            amount = held - 1;
        }
        _credit[msg.sender] = 1;
        emit Withdrawn(msg.sender, to, amount);
        (bool success,) = to.call{value: amount}("");
        require(success, WithdrawalFailed(to, amount));
    }

    /* VIEWS */

    /// @inheritdoc IGroup
    function credit(address deliverer) external view returns (uint256) {
        return _credit[deliverer];
    }

    /* INTERNALS */

    /// @dev Notes what one process may owe for its batch, at memory offset `bill`.
    /// @return The place of the next bill.
    function _note(uint256 bill, bytes32 process, uint256 weight, uint256 length) internal pure returns (uint256) {
        assembly ("memory-safe") {
            mstore(bill, process)
            mstore(add(bill, 0x20), weight)
            mstore(add(bill, 0x40), length)
        }
        unchecked {
            return bill + BILL_SIZE;
        }
    }

    /// @dev Weight of a batch in a delivery: the gas that would not have been used without it.
    /// @param gasUsed Measured for running its messages.
    /// @param messages How many have run.
    /// @param length Bytes of these messages and of the proof.
    function _weigh(uint256 gasUsed, uint256 messages, uint256 length) internal pure returns (uint256) {
        unchecked {
            return gasUsed + GAS_BYTE * length + GAS_MESSAGE * messages + GAS_BATCH;
        }
    }

    /// @dev Takes what is owed from the tanks of all processes that have one, and credits the caller.
    /// @param bill First bill.
    /// @param end Memory offset after the last one.
    /// @param shared Gas measured for what all batches share.
    /// @param intrinsic Gas of the transaction itself, unless a delivery before in the same one has charged it.
    /// @param weights Weight of all batches that have run, also of those without a tank.
    function _repay(uint256 bill, uint256 end, uint256 shared, uint256 intrinsic, uint256 weights) internal {
        (uint256 perByte, uint256 price, uint256 total) = (_gasPerByte, _tipWei, 0);
        unchecked {
            // Prices have 64 bits and gas has 24: nothing here comes near 2^256.
            price += block.basefee;
            if (tx.gasprice < price) price = tx.gasprice;
            if (intrinsic != 0) shared += intrinsic + GAS_SHARED;
            for (; bill != end; bill += BILL_SIZE) {
                (bytes32 process, uint256 weight, uint256 length) = _read(bill);
                // A transaction takes the larger of what it used and the floor price of its calldata (EIP-7623).
                uint256 owed = weight + shared * weight / weights;
                uint256 floor = perByte * length + intrinsic * weight / weights;
                if (owed < floor) owed = floor;
                owed = owed * price / 1 gwei;
                Process storage stored = _processes[process];
                uint256 word = _wordOf(stored);
                // An empty tank repays less; who delivers decides whether that is enough.
                if (owed > word >> TANK_SHIFT) owed = word >> TANK_SHIFT;
                _setWord(stored, word - (owed << TANK_SHIFT));
                total += owed;
            }
            _credit[msg.sender] += total * 1 gwei;
        }
    }

    function _read(uint256 bill) private pure returns (bytes32 process, uint256 weight, uint256 length) {
        assembly ("memory-safe") {
            process := mload(bill)
            weight := mload(add(bill, 0x20))
            length := mload(add(bill, 0x40))
        }
    }
}
