// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.28;

/// @title A bridge between wallets of this chain and accounts of ledger users (MVM's Bridge).
/// @notice A ledger user's account obeys orders that arrive through the ledger. This contract lets a wallet of the same person
/// act for it within what the account allows, and lets the chain's own coin in and out.
///
/// The chain's coin is no asset of the ledger. It comes in as wrapped coin (WETH) of the account, where orders can use it, and
/// goes out as coin of the wallet; it never reaches the ledger.
///
/// @dev BINDING takes two: the wallet calls `bind(user)`, and the user orders his account to call `confirm(wallet)`. Neither
/// alone binds anybody, so nobody binds a wallet or an account of somebody else. Either ends it alone: `unbind`, `revoke`.
/// After `revoke` the account can confirm again only what the wallet still, or again, asks for.
///
/// ALLOWANCE. What a confirmed wallet may take is what the account has approved to this contract with ERC-20's `approve`, token
/// by token: a binding without allowances lets the wallet pay in, and nothing else. There is no other authority here; the
/// contract holds nothing between transactions.
///
/// WHO MAY HURT WHOM. A confirmed wallet takes up to the allowance: who loses his wallet's key orders `revoke`. Coin that
/// somebody forces in (as the fee recipient of a block) is lost. A token that lies cheats those who name it.
interface IBridge {
    /* EVENTS */

    /// @notice A wallet asks to act for the account of `user`.
    event Asked(address indexed wallet, bytes32 indexed user, address indexed account);

    /// @notice The account has agreed.
    event Confirmed(address indexed wallet, address indexed account);

    /// @notice The binding ended.
    event Ended(address indexed wallet, address indexed account);

    /// @notice Coin of the wallet became wrapped coin of the account.
    event Deposited(address indexed wallet, address indexed account, uint256 amount);

    /// @notice Wrapped coin of the account became coin of the wallet.
    event Withdrawn(address indexed wallet, address indexed account, uint256 amount);

    /* ERRORS */

    /// @notice The ledger user is zero.
    error InvalidUser();

    /// @notice The wallet has not asked for this account: it asks for `asked`, zero for none.
    error NotAsked(address wallet, address asked, address account);

    /// @notice The wallet has no account that has confirmed it.
    error NotBound(address wallet);

    /// @notice Nothing to move.
    error InvalidAmount();

    /// @notice The wallet did not take its coin.
    error CoinRefused(address wallet, uint256 amount);

    /* BINDING */

    /// @notice Asks to act for the account of a ledger user. Ends a binding to another account.
    function bind(bytes32 user) external;

    /// @notice Ends what the calling wallet has asked for.
    function unbind() external;

    /// @notice Confirms a wallet. Called by the account, on an order.
    function confirm(address wallet) external;

    /// @notice Ends the binding of a wallet to the calling account.
    function revoke(address wallet) external;

    /* COIN */

    /// @notice Wraps the coin that comes along for the account of the calling wallet. Plain coin from a bound wallet does too.
    function deposit() external payable;

    /// @notice Takes wrapped coin from the account, and gives the calling wallet coin. Needs an allowance.
    function withdraw(uint256 amount) external;

    /* TOKENS */

    /// @notice Takes a token from the account to the calling wallet. Needs an allowance.
    /// @param token Any ERC-20.
    function pull(address token, uint256 amount) external;

    /// @notice Sends a ledger asset of the account to its user on the ledger. Needs an allowance.
    /// @param asset Kernel asset id.
    /// @param amount In 10^-8 units.
    /// @param memo Raw extra of the ledger payment, at most 200 bytes.
    /// @return nonce Number of the outbound at the group contract.
    function toLedger(bytes32 asset, uint256 amount, bytes calldata memo) external returns (uint64 nonce);

    /* VIEWS */

    /// @notice The account that a wallet has asked for, and whether the account has agreed.
    function bindingOf(address wallet) external view returns (address account, bool confirmed);

    /// @notice The process whose accounts these are.
    function accounts() external view returns (address);

    /// @notice The wrapped coin.
    function coin() external view returns (address);
}
