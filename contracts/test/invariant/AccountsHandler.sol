// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.28;

import {IERC20} from "@openzeppelin/contracts/interfaces/IERC20.sol";

import {IAccounts} from "../../src/interfaces/IAccounts.sol";
import {IAsset} from "../../src/interfaces/IAsset.sol";
import {IAssets} from "../../src/interfaces/IAssets.sol";
import {IGroup} from "../../src/interfaces/IGroup.sol";
import {Batch, MessageKind} from "../../src/types/Messages.sol";
import {Members, Signed} from "../helpers/Members.sol";
import {Test} from "../helpers/Test.sol";
import {Log} from "../helpers/Vm.sol";
import {LyingToken} from "../mocks/LyingToken.sol";
import {MockTarget} from "../mocks/MockTarget.sol";

/// @notice What users, wallets, the ledger and deliverers may do to the accounts process, and what has come of it.
/// @dev None of its functions may revert: `fail_on_revert` is set.
contract AccountsHandler is Test {
    uint256 public constant USERS = 3;
    uint256 public constant ASSETS = 2;
    uint256 private constant AMOUNT_MAX = 1e24;
    address private constant WALLET = address(0xe0a);

    IGroup private immutable GROUP;
    Members private immutable MEMBERS;
    IAccounts private immutable ACCOUNTS;
    MockTarget private immutable TARGET;
    bytes32 private immutable PROCESS;
    uint256 private immutable BOX;
    LyingToken private immutable LIAR;

    /// @notice What all delivered messages brought.
    mapping(bytes32 asset => uint256) public broughtIn;
    /// @notice What all outbounds asked for.
    mapping(bytes32 asset => uint256) public paidOut;
    /// @notice What has no owner: payments of nobody and what came back, less what was assigned.
    mapping(bytes32 asset => uint256) public unowned;

    constructor(IGroup group, Members members, IAccounts accounts, MockTarget target, uint256 box) {
        (GROUP, MEMBERS, ACCOUNTS, TARGET, BOX) = (group, members, accounts, target, box);
        PROCESS = group.processOf(address(accounts));
        LIAR = new LyingToken();
    }

    /* THE LEDGER */

    function deposit(uint256 user, uint256 asset, uint256 amount) external {
        deliver(MessageKind.CALL, userOf(user), assetOf(asset), bound(amount, 1, AMOUNT_MAX), "");
    }

    /// @dev Any bytes: an order only by chance.
    function junk(uint256 user, uint256 asset, uint256 amount, bytes calldata payload) external {
        deliver(MessageKind.CALL, userOf(user), assetOf(asset), bound(amount, 1, AMOUNT_MAX), payload);
    }

    function payAsNobody(uint256 asset, uint256 amount) external {
        deliver(MessageKind.CALL, 0, assetOf(asset), bound(amount, 1, AMOUNT_MAX), "");
    }

    function bounce(uint256 asset, uint256 amount) external {
        deliver(MessageKind.BOUNCE, 0, assetOf(asset), bound(amount, 1, AMOUNT_MAX), "");
    }

    /// @dev From so little gas that nothing runs, to plenty.
    function setGas(uint32 limit) external {
        uint32 gas = uint32(bound(limit, 50_000, 2_000_000));
        deliver(MessageKind.UPDATE, 0, 0, 0, abi.encodePacked(uint8(0), gas));
    }

    /* ORDERS */

    function take(uint256 user, uint256 asset, uint256 amount, uint256 taken, bool keep) external {
        amount = bound(amount, 1, AMOUNT_MAX);
        bytes memory taking = abi.encodeCall(MockTarget.take, (tokenOf(asset), bound(taken, 0, amount + 1)));
        deliver(MessageKind.CALL, userOf(user), assetOf(asset), amount, order(keep, address(TARGET), taking));
    }

    function give(uint256 user, uint256 asset, uint256 amount, uint256 given, bool keep) external {
        bytes memory giving = abi.encodeCall(MockTarget.give, (tokenOf(asset), bound(given, 0, AMOUNT_MAX)));
        amount = bound(amount, 1, AMOUNT_MAX);
        deliver(MessageKind.CALL, userOf(user), assetOf(asset), amount, order(keep, address(TARGET), giving));
    }

    function burnGas(uint256 user, uint256 asset, uint256 amount) external {
        bytes memory burning = abi.encodeCall(MockTarget.burnGas, ());
        amount = bound(amount, 1, AMOUNT_MAX);
        deliver(MessageKind.CALL, userOf(user), assetOf(asset), amount, order(false, address(TARGET), burning));
    }

    function bomb(uint256 user, uint256 asset, uint256 amount, bool answers) external {
        bytes memory bombing = answers
            ? abi.encodeCall(MockTarget.answerZeros, (300_000))
            : abi.encodeCall(MockTarget.failWithZeros, (300_000));
        amount = bound(amount, 1, AMOUNT_MAX);
        deliver(MessageKind.CALL, userOf(user), assetOf(asset), amount, order(true, address(TARGET), bombing));
    }

    /// @dev In the middle of an order, the target tries to take what is not its own.
    function reenter(uint256 user, uint256 asset, uint256 amount) external {
        bytes memory assigning = abi.encodeCall(IAssets.assign, (assetOf(asset), userOf(user), 1));
        bytes memory entering = abi.encodeCall(MockTarget.reenter, (address(ACCOUNTS), assigning));
        amount = bound(amount, 1, AMOUNT_MAX);
        deliver(MessageKind.CALL, userOf(user), assetOf(asset), amount, order(false, address(TARGET), entering));
    }

    function depart(uint256 user, uint256 asset, uint256 amount) external {
        address token = address(tokenOf(asset));
        bytes memory leaving = abi.encodeCall(IAsset.toLedger, ("", bound(amount, 1, AMOUNT_MAX), ""));
        deliver(MessageKind.CALL, userOf(user), assetOf(asset), 7, order(true, token, leaving));
    }

    function handToWallet(uint256 user, uint256 asset, uint256 amount) external {
        IERC20 token = tokenOf(asset);
        bytes memory handing = abi.encodeCall(IERC20.transfer, (WALLET, bound(amount, 1, AMOUNT_MAX)));
        deliver(MessageKind.CALL, userOf(user), assetOf(asset), 7, order(true, address(token), handing));
    }

    /// @dev The registrar hands out what has no owner.
    function assign(uint256 user, uint256 asset, uint256 amount) external {
        bytes memory assigning =
            abi.encodeCall(IAssets.assign, (assetOf(asset), userOf(user), bound(amount, 1, AMOUNT_MAX)));
        deliver(MessageKind.CALL, PROCESS, assetOf(asset), 7, order(true, address(ACCOUNTS), assigning));
    }

    /// @dev An order that calls a token which lies: to the order, about itself, and to the account's own token.
    function lie(uint256 user, uint256 asset, uint256 amount, uint256 lied, bool keep) external {
        amount = bound(amount, 1, AMOUNT_MAX);
        lied = bound(lied, 0, 2 * amount);
        bytes memory lying = abi.encodeCall(LyingToken.lie, (address(tokenOf(asset)), userOf(user), lied));
        deliver(MessageKind.CALL, userOf(user), assetOf(asset), amount, order(keep, address(LIAR), lying));
    }

    /* WALLETS */

    function walletLeaves(uint256 user, uint256 asset, uint256 amount) external {
        IERC20 token = tokenOf(asset);
        bytes32 payee = userOf(user);
        uint256 held = address(token).code.length == 0 ? 0 : token.balanceOf(WALLET);
        if (held == 0 || ACCOUNTS.accountOf(payee).code.length == 0) return;
        amount = bound(amount, 1, held);
        vm.recordLogs();
        vm.prank(WALLET);
        IAsset(address(token)).toLedger(abi.encode(payee), amount, "");
        see();
    }

    /* VIEWS */

    function userOf(uint256 index) public pure returns (bytes32) {
        return bytes32(index % USERS + 1);
    }

    function assetOf(uint256 index) public pure returns (bytes32) {
        return keccak256(abi.encode("asset", index % ASSETS));
    }

    function tokenOf(uint256 index) public view returns (IERC20) {
        return IERC20(ACCOUNTS.tokenOf(assetOf(index)));
    }

    /// @notice All who can hold tokens here.
    function holders() external view returns (address[] memory all) {
        all = new address[](USERS + 4);
        for (uint256 i; i < USERS; ++i) {
            all[i] = ACCOUNTS.accountOf(userOf(i));
        }
        all[USERS + 3] = address(LIAR);
        (all[USERS], all[USERS + 1], all[USERS + 2]) = (ACCOUNTS.accountOf(PROCESS), address(TARGET), WALLET);
    }

    /* DELIVERY */

    function deliver(uint8 kind, bytes32 sender, bytes32 asset, uint256 amount, bytes memory payload) private {
        uint256 nonce = MEMBERS.count(BOX);
        MEMBERS.post(BOX, kind, sender, asset, amount, payload);
        Signed memory signed = MEMBERS.sign();
        Batch[] memory batches = new Batch[](1);
        batches[0] = MEMBERS.batch(signed, BOX, nonce);
        vm.recordLogs();
        GROUP.deliver(signed.checkpoint, signed.signature, batches);
        broughtIn[asset] += amount;
        if (kind == MessageKind.BOUNCE || (kind == MessageKind.CALL && sender == 0)) unowned[asset] += amount;
        see();
    }

    /// @dev Counts what the logs say. They hold those of reverted calls as well: an outbound whose number comes again never
    /// was, and neither was what an order did that failed, or a message.
    function see() private {
        Log[] memory logs = vm.getRecordedLogs();
        uint256 nonce = type(uint256).max;
        bytes32 asset;
        uint256 amount;
        for (uint256 i; i < logs.length; ++i) {
            if (logs[i].topics[0] != IGroup.Outbound.selector) continue;
            if (uint256(logs[i].topics[1]) != nonce) paidOut[asset] += amount;
            nonce = uint256(logs[i].topics[1]);
            (, asset, amount,,) = abi.decode(logs[i].data, (uint64, bytes32, uint256, bytes, bytes));
        }
        if (nonce != type(uint256).max) paidOut[asset] += amount;
        if (has(logs, IGroup.Failed.selector) || has(logs, IAccounts.OrderFailed.selector)) return;
        for (uint256 i; i < logs.length; ++i) {
            if (logs[i].topics[0] != IAssets.Assigned.selector) continue;
            unowned[logs[i].topics[1]] -= abi.decode(logs[i].data, (uint256));
        }
    }

    function has(Log[] memory logs, bytes32 selector) private pure returns (bool) {
        for (uint256 i; i < logs.length; ++i) {
            if (logs[i].topics[0] == selector) return true;
        }
        return false;
    }

    function order(bool keep, address target, bytes memory data) private pure returns (bytes memory) {
        return abi.encodePacked(keep, uint8(1), target, uint16(data.length), data);
    }
}
