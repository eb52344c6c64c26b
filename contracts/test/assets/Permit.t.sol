// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.28;

import {IERC20Permit} from "@openzeppelin/contracts/token/ERC20/extensions/IERC20Permit.sol";
import {IERC5267} from "@openzeppelin/contracts/interfaces/IERC5267.sol";

import {AccountsTest} from "../helpers/AccountsTest.sol";

/// @notice ERC-2612, behind a clone: the domain is the token's own.
contract PermitTest is AccountsTest {
    uint256 private constant KEY = 0xa11ce;

    bytes32 private constant PERMIT =
        keccak256("Permit(address owner,address spender,uint256 value,uint256 nonce,uint256 deadline)");
    bytes32 private constant DOMAIN =
        keccak256("EIP712Domain(string name,string version,uint256 chainId,address verifyingContract)");

    error ERC2612ExpiredSignature(uint256 deadline);
    error ERC2612InvalidSigner(address signer, address owner);

    IERC20Permit private token;
    address private wallet;

    function setUp() public override {
        super.setUp();
        pay(ALICE, 100, "");
        token = IERC20Permit(address(xin));
        wallet = vm.addr(KEY);
    }

    function test_RefusesAnExpiredOne() public {
        (uint8 v, bytes32 r, bytes32 s) = sign(address(xin), 5, 0, 99);
        vm.warp(100);
        vm.expectRevert(abi.encodeWithSelector(ERC2612ExpiredSignature.selector, 99));
        token.permit(wallet, bob, 5, 99, v, r, s);
    }

    function test_RefusesOneOfAnotherToken() public {
        (uint8 v, bytes32 r, bytes32 s) = sign(accounts.createToken(BTC), 5, 0, type(uint256).max);
        vm.expectRevert();
        token.permit(wallet, bob, 5, type(uint256).max, v, r, s);
        vm.assertEq(xin.allowance(wallet, bob), 0);
    }

    function test_RefusesOneTwice() public {
        (uint8 v, bytes32 r, bytes32 s) = sign(address(xin), 5, 0, type(uint256).max);
        token.permit(wallet, bob, 5, type(uint256).max, v, r, s);
        vm.expectRevert();
        token.permit(wallet, bob, 5, type(uint256).max, v, r, s);
    }

    function testFuzz_RefusesOneOfAnother(address owner) public {
        vm.assume(owner != wallet);
        (uint8 v, bytes32 r, bytes32 s) = sign(address(xin), 5, 0, type(uint256).max);
        vm.expectRevert();
        token.permit(owner, bob, 5, type(uint256).max, v, r, s);
    }

    function testFuzz_Approves(uint256 value) public {
        (uint8 v, bytes32 r, bytes32 s) = sign(address(xin), value, 0, type(uint256).max);
        token.permit(wallet, bob, value, type(uint256).max, v, r, s);
        vm.assertEq(xin.allowance(wallet, bob), value);
        vm.assertEq(token.nonces(wallet), 1);
    }

    function test_SaysItsDomain() public view {
        (, string memory name, string memory version, uint256 chain, address verifier,,) =
            IERC5267(address(xin)).eip712Domain();
        vm.assertEq(bytes(name), "Lockstep asset");
        vm.assertEq(bytes(version), "1");
        vm.assertEq(chain, block.chainid);
        vm.assertEq(verifier, address(xin));
        vm.assertEq(token.DOMAIN_SEPARATOR(), domainOf(address(xin)));
    }

    function domainOf(address verifier) private view returns (bytes32) {
        return keccak256(abi.encode(DOMAIN, keccak256("Lockstep asset"), keccak256("1"), block.chainid, verifier));
    }

    function sign(address verifier, uint256 value, uint256 nonce, uint256 deadline)
        private
        view
        returns (uint8 v, bytes32 r, bytes32 s)
    {
        bytes32 message = keccak256(abi.encode(PERMIT, wallet, bob, value, nonce, deadline));
        return vm.sign(KEY, keccak256(abi.encodePacked(hex"1901", domainOf(verifier), message)));
    }
}
