// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import {IERC20} from "@openzeppelin/contracts/interfaces/IERC20.sol";
import {SafeERC20} from "@openzeppelin/contracts/token/ERC20/utils/SafeERC20.sol";

import {IAccount} from "../interfaces/IAccount.sol";
import {IAccounts} from "../interfaces/IAccounts.sol";
import {IAsset} from "../interfaces/IAsset.sol";
import {IBridge} from "../interfaces/IBridge.sol";

/// @dev The part of WETH9 that ERC-20 does not have.
interface IWrappedCoin {
    function deposit() external payable;
    function withdraw(uint256 amount) external;
}

/// @title Wallets of this chain for accounts of ledger users. What it promises stands at `IBridge`.
contract Bridge is IBridge {
    using SafeERC20 for IERC20;

    /// @dev One slot.
    struct Binding {
        address account;
        bool confirmed;
    }

    /// @inheritdoc IBridge
    address public immutable accounts;

    /// @inheritdoc IBridge
    address public immutable coin;

    /// @inheritdoc IBridge
    mapping(address wallet => Binding) public bindingOf;

    /// @param accounts_ The process whose accounts these are.
    /// @param coin_ The chain's wrapped coin: WETH9 or one that behaves like it.
    constructor(IAccounts accounts_, address coin_) {
        (accounts, coin) = (address(accounts_), coin_);
    }

    /// @notice Coin from a bound wallet is a deposit; coin from the wrapped coin is on its way to a wallet.
    receive() external payable {
        if (msg.sender != coin) _deposit();
    }

    /* BINDING */

    /// @inheritdoc IBridge
    function bind(bytes32 user) external {
        require(user != 0, InvalidUser());
        address account = IAccounts(accounts).accountOf(user);
        address before = bindingOf[msg.sender].account;
        if (before == account) return;
        if (before != address(0)) emit Ended(msg.sender, before);
        bindingOf[msg.sender] = Binding(account, false);
        emit Asked(msg.sender, user, account);
    }

    /// @inheritdoc IBridge
    function unbind() external {
        address account = bindingOf[msg.sender].account;
        require(account != address(0), NotBound(msg.sender));
        _end(msg.sender, account);
    }

    /// @inheritdoc IBridge
    function confirm(address wallet) external {
        _checkAsked(wallet);
        bindingOf[wallet].confirmed = true;
        emit Confirmed(wallet, msg.sender);
    }

    /// @inheritdoc IBridge
    function revoke(address wallet) external {
        _checkAsked(wallet);
        _end(wallet, msg.sender);
    }

    /* COIN */

    /// @inheritdoc IBridge
    function deposit() external payable {
        _deposit();
    }

    /// @inheritdoc IBridge
    function withdraw(uint256 amount) external {
        address account = _take(coin, address(this), amount);
        IWrappedCoin(coin).withdraw(amount);
        emit Withdrawn(msg.sender, account, amount);
        bool success;
        address wallet = msg.sender;
        assembly ("memory-safe") {
            success := call(gas(), wallet, amount, 0, 0, 0, 0)
        }
        require(success, CoinRefused(wallet, amount));
    }

    /* TOKENS */

    /// @inheritdoc IBridge
    function pull(address token, uint256 amount) external {
        _take(token, msg.sender, amount);
    }

    /// @inheritdoc IBridge
    function toLedger(bytes32 asset, uint256 amount, bytes calldata memo) external returns (uint64 nonce) {
        address token = IAccounts(accounts).tokenOf(asset);
        address account = _take(token, address(this), amount);
        return IAsset(token).toLedger(abi.encode(IAccount(account).user()), amount, memo);
    }

    /* INTERNALS */

    function _deposit() private {
        address account = _bound(msg.sender);
        require(msg.value != 0, InvalidAmount());
        IWrappedCoin(coin).deposit{value: msg.value}();
        IERC20(coin).safeTransfer(account, msg.value);
        emit Deposited(msg.sender, account, msg.value);
    }

    /// @dev Moves a token from the account of the calling wallet, and from no other.
    function _take(address token, address to, uint256 amount) private returns (address account) {
        account = _bound(msg.sender);
        require(amount != 0, InvalidAmount());
        IERC20(token).safeTransferFrom(account, to, amount);
    }

    function _bound(address wallet) private view returns (address) {
        Binding memory binding = bindingOf[wallet];
        require(binding.confirmed, NotBound(wallet));
        return binding.account;
    }

    function _checkAsked(address wallet) private view {
        address asked = bindingOf[wallet].account;
        require(asked == msg.sender, NotAsked(wallet, asked, msg.sender));
    }

    function _end(address wallet, address account) private {
        delete bindingOf[wallet];
        emit Ended(wallet, account);
    }
}
