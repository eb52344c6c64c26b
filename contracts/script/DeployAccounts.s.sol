// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.28;

import {Accounts} from "../src/accounts/Accounts.sol";
import {Bridge} from "../src/bridge/Bridge.sol";
import {WrappedCoin} from "../src/bridge/WrappedCoin.sol";
import {IGroup} from "../src/interfaces/IGroup.sol";
import {Storage} from "../src/storage/Storage.sol";
import {BaseScript} from "./BaseScript.sol";

/// @notice Deploys what users have on a chain: smart accounts with the tokens of ledger assets, payload storage, the bridge.
///
///     FOUNDRY_PROFILE=deploy LOCKSTEP_GROUP_CONTRACT=0x… LOCKSTEP_ACCOUNTS_PROCESS=0x… LOCKSTEP_WRAPPED_COIN=0x… \
///         LOCKSTEP_DEPLOY_OUT=accounts.json forge script script/DeployAccounts.s.sol --rpc-url URL --broadcast …
///
/// The process is the ledger user who will register the accounts contract, as 32 bytes with the UUID at the right; register
/// it with 2,000,000 gas. LOCKSTEP_WRAPPED_COIN is the chain's own WETH; without it one is deployed. What was deployed is
/// written to LOCKSTEP_DEPLOY_OUT: chain, storage, accounts, coin, ownCoin (that coin, or zero where it was named), bridge.
/// `lockstep group code --accounts` compares that with a build.
contract DeployAccounts is BaseScript {
    /// @notice There is no contract at LOCKSTEP_GROUP_CONTRACT or LOCKSTEP_WRAPPED_COIN on this chain.
    error NoContract(uint256 chain, address named);

    function run() external returns (Storage payloads, Accounts accounts, address coin, Bridge bridge) {
        IGroup group = IGroup(vm.envAddress("LOCKSTEP_GROUP_CONTRACT"));
        bytes32 process = vm.envBytes32("LOCKSTEP_ACCOUNTS_PROCESS");
        coin = vm.envOr("LOCKSTEP_WRAPPED_COIN", address(0));
        require(address(group).code.length != 0, NoContract(block.chainid, address(group)));
        require(coin == address(0) || coin.code.length != 0, NoContract(block.chainid, coin));
        bool isNamed = coin != address(0);
        (payloads, accounts, coin, bridge) = deploy(group, process, coin);

        string memory json = "deployed";
        vm.serializeUint(json, "chain", block.chainid);
        vm.serializeAddress(json, "ownCoin", isNamed ? address(0) : coin);
        vm.serializeAddress(json, "storage", address(payloads));
        vm.serializeAddress(json, "accounts", address(accounts));
        vm.serializeAddress(json, "coin", coin);
        vm.writeFile(vm.envString("LOCKSTEP_DEPLOY_OUT"), vm.serializeAddress(json, "bridge", address(bridge)));
    }

    function deploy(IGroup group, bytes32 process, address coin)
        private
        broadcast
        returns (Storage payloads, Accounts accounts, address wrapped, Bridge bridge)
    {
        payloads = new Storage();
        accounts = new Accounts(group, process, payloads);
        wrapped = coin == address(0) ? address(new WrappedCoin()) : coin;
        bridge = new Bridge(accounts, wrapped);
    }
}
