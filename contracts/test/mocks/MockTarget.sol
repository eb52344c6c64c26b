// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.28;

import {IERC20} from "@openzeppelin/contracts/interfaces/IERC20.sol";

/// @notice What an order may call: it does what it is told, good or bad, and counts.
contract MockTarget {
    uint256 public calls;
    bytes public last;
    bool public reentered;
    bytes public answer;

    receive() external payable {
        ++calls;
    }

    /// @dev Whatever is called that does not exist, happens.
    fallback() external payable {
        ++calls;
        last = msg.data;
    }

    function take(IERC20 token, uint256 amount) external {
        ++calls;
        require(token.transferFrom(msg.sender, address(this), amount));
    }

    function give(IERC20 token, uint256 amount) external {
        ++calls;
        require(token.transfer(msg.sender, amount));
    }

    function failWith(bytes calldata reason) external {
        ++calls;
        bytes memory copy = reason;
        assembly {
            revert(add(copy, 0x20), mload(copy))
        }
    }

    function failWithZeros(uint256 size) external {
        ++calls;
        assembly {
            revert(0, size)
        }
    }

    function answerZeros(uint256 size) external {
        ++calls;
        assembly {
            return(0, size)
        }
    }

    function burnGas() external {
        ++calls;
        while (true) {}
    }

    function reenter(address target, bytes calldata data) external {
        ++calls;
        (reentered, answer) = target.call(data);
    }
}
