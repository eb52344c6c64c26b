// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.28;

import {Reverter} from "../src/examples/Reverter.sol";
import {Vault} from "../src/examples/Vault.sol";
import {IGroup} from "../src/interfaces/IGroup.sol";
import {BaseScript} from "./BaseScript.sol";

/// @notice Deploys the example processes, bound to the ledger users who will register them.
///
///     FOUNDRY_PROFILE=deploy LOCKSTEP_GROUP_CONTRACT=0x… LOCKSTEP_VAULT_PROCESS=0x… LOCKSTEP_REVERTER_PROCESS=0x… \
///         LOCKSTEP_DEPLOY_OUT=examples.json forge script script/DeployExamples.s.sol --rpc-url URL --broadcast …
///
/// A process is 32 bytes: the UUID of the user at the right. What was deployed is written to LOCKSTEP_DEPLOY_OUT: vault,
/// reverter.
contract DeployExamples is BaseScript {
    /// @notice There is no contract at LOCKSTEP_GROUP_CONTRACT on this chain.
    error NoGroup(uint256 chain, address group);

    function run() external returns (Vault vault, Reverter reverter) {
        IGroup group = IGroup(vm.envAddress("LOCKSTEP_GROUP_CONTRACT"));
        require(address(group).code.length != 0, NoGroup(block.chainid, address(group)));
        (vault, reverter) =
            deploy(group, vm.envBytes32("LOCKSTEP_VAULT_PROCESS"), vm.envBytes32("LOCKSTEP_REVERTER_PROCESS"));

        string memory json = "deployed";
        vm.serializeAddress(json, "vault", address(vault));
        vm.writeFile(vm.envString("LOCKSTEP_DEPLOY_OUT"), vm.serializeAddress(json, "reverter", address(reverter)));
    }

    function deploy(IGroup group, bytes32 vaultProcess, bytes32 reverterProcess)
        private
        broadcast
        returns (Vault, Reverter)
    {
        return (new Vault(group, vaultProcess), new Reverter(group, reverterProcess));
    }
}
