// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import {WETH} from "solady/tokens/WETH.sol";

/// @title The chain's coin as an ERC-20, for chains that have no WETH of their own. Where there is one, deploy the bridge on that.
contract WrappedCoin is WETH {
    /// @dev No address has an allowance that the holder did not give.
    function _givePermit2InfiniteAllowance() internal pure override returns (bool) {
        return false;
    }
}
