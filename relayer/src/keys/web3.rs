//! Web3 keystore files, version 3: what wallets keep an EVM key in (ethereum.org "Web3 Secret Storage Definition").
//!
//! AES-128-CTR under a key from scrypt or PBKDF2, with keccak of the second half of that key and the ciphertext as a check.
//! They are read and never written: [`super::Keyring`] keeps the key.

use std::path::Path;

use aes::Aes128;
use aes::cipher::{KeyIvInit, StreamCipher};
use alloy::primitives::{Address, keccak256};
use alloy::signers::local::PrivateKeySigner;
use ctr::Ctr128BE;
use serde::Deserialize;
use sha2::Sha256;
use thiserror::Error;
use zeroize::Zeroizing;

use super::disk::{self, FileError};
use super::passphrase::Passphrase;

/// Largest file; a real one has about 500 bytes.
const FILE_BYTES_MAX: u64 = 64 * 1024;
/// Most memory that scrypt may take: 128 · r · 2^log_n bytes. Wallets ask for 256 MiB.
const SCRYPT_BYTES_MAX: u64 = 1 << 30;
/// Most rounds of PBKDF2.
const ROUNDS_MAX: u32 = 20_000_000;

/// A file that this program can open with the right passphrase: everything in it is known and within bounds.
pub struct Web3File {
    crypto: Crypto,
    /// Most programs write it. The check covers the ciphertext only, and not what else makes the key of it.
    address: Option<Address>,
}

impl std::fmt::Debug for Web3File {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Web3File").field("address", &self.address).finish_non_exhaustive()
    }
}

#[derive(Deserialize)]
struct Json {
    version: u32,
    crypto: Crypto,
    address: Option<String>,
}

#[derive(Deserialize)]
struct Crypto {
    cipher: String,
    cipherparams: CipherParams,
    #[serde(with = "hex::serde")]
    ciphertext: [u8; 32],
    #[serde(flatten)]
    kdf: Kdf,
    #[serde(with = "hex::serde")]
    mac: [u8; 32],
}

#[derive(Deserialize)]
struct CipherParams {
    #[serde(with = "hex::serde")]
    iv: [u8; 16],
}

#[derive(Deserialize)]
#[serde(tag = "kdf", content = "kdfparams", rename_all = "lowercase")]
enum Kdf {
    Scrypt {
        dklen: u32,
        n: u64,
        r: u32,
        p: u32,
        #[serde(with = "hex::serde")]
        salt: Vec<u8>,
    },
    Pbkdf2 {
        dklen: u32,
        c: u32,
        prf: String,
        #[serde(with = "hex::serde")]
        salt: Vec<u8>,
    },
}

/// Parameters that cost no more than this program gives.
enum Bounded<'a> {
    Scrypt(scrypt::Params, &'a [u8]),
    Pbkdf2(u32, &'a [u8]),
}

impl Kdf {
    fn bounded(&self) -> Option<Bounded<'_>> {
        match self {
            Self::Scrypt { dklen: 32, n, r, p, salt } => {
                let bytes = u64::from(*r).checked_mul(*n).and_then(|blocks| blocks.checked_mul(128));
                let is_bounded = bytes.is_some_and(|bytes| bytes <= SCRYPT_BYTES_MAX) && *p <= 16;
                let log_n = u8::try_from(n.trailing_zeros()).ok().filter(|_| n.is_power_of_two() && is_bounded)?;
                Some(Bounded::Scrypt(scrypt::Params::new(log_n, *r, *p).ok()?, salt))
            }
            Self::Pbkdf2 { dklen: 32, c, prf, salt } if prf == "hmac-sha256" && (1..=ROUNDS_MAX).contains(c) => {
                Some(Bounded::Pbkdf2(*c, salt))
            }
            Self::Scrypt { .. } | Self::Pbkdf2 { .. } => None,
        }
    }

    fn derive(&self, passphrase: &Passphrase) -> Result<Zeroizing<[u8; 32]>, Web3Error> {
        const PARAMETERS: Web3Error = Web3Error::Form("`crypto.kdfparams`");
        let passphrase = passphrase.expose().as_bytes();
        let mut key = Zeroizing::new([0; 32]);
        match self.bounded().ok_or(PARAMETERS)? {
            Bounded::Scrypt(params, salt) => {
                scrypt::scrypt(passphrase, salt, &params, key.as_mut_slice()).map_err(|_| PARAMETERS)?;
            }
            Bounded::Pbkdf2(rounds, salt) => {
                pbkdf2::pbkdf2_hmac::<Sha256>(passphrase, salt, rounds, key.as_mut_slice());
            }
        }
        Ok(key)
    }
}

/// Reads the key of an EVM account.
///
/// # Errors
/// A file that others can read, one that is no keystore of version 3, and a wrong passphrase.
pub fn read_web3(path: &Path, passphrase: &Passphrase) -> Result<PrivateKeySigner, Web3Error> {
    let bytes = disk::read_private(path, FILE_BYTES_MAX).map_err(Web3Error::File)?;
    Web3File::parse(&bytes)?.open(passphrase)
}

impl Web3File {
    /// Reads all of a file but its secret. Nothing is computed yet, and nothing vouches for what it says.
    ///
    /// # Errors
    /// Names what is not of the version, the cipher or the bounds that this program reads.
    pub fn parse(bytes: &[u8]) -> Result<Self, Web3Error> {
        // The parser's own message can quote what it found.
        let Json { version, crypto, address } =
            serde_json::from_slice(bytes).map_err(|_| Web3Error::Form("its JSON"))?;
        if version != 3 {
            return Err(Web3Error::Form("`version`"));
        }
        if crypto.cipher != "aes-128-ctr" {
            return Err(Web3Error::Form("`crypto.cipher`"));
        }
        crypto.kdf.bounded().ok_or(Web3Error::Form("`crypto.kdfparams`"))?;
        let address = address.map(|address| address.parse()).transpose().map_err(|_| Web3Error::Form("`address`"))?;
        Ok(Self { crypto, address })
    }

    fn open(&self, passphrase: &Passphrase) -> Result<PrivateKeySigner, Web3Error> {
        let Self { crypto, address } = self;
        let key = crypto.kdf.derive(passphrase)?;
        let (encrypt, check) = key.split_at(16);
        if keccak256([check, crypto.ciphertext.as_slice()].concat()) != crypto.mac {
            return Err(Web3Error::Passphrase);
        }
        let mut secret = Zeroizing::new(crypto.ciphertext);
        let cipher = Ctr128BE::<Aes128>::new_from_slices(encrypt, &crypto.cipherparams.iv);
        cipher.map_err(|_| Web3Error::Form("`crypto.cipherparams`"))?.apply_keystream(secret.as_mut_slice());
        let signer = PrivateKeySigner::from_slice(secret.as_slice()).map_err(|_| Web3Error::Form("its key"))?;
        match *address {
            Some(address) if address != signer.address() => Err(Web3Error::OtherAccount { address }),
            Some(_) | None => Ok(signer),
        }
    }
}

/// Why a Web3 keystore file is not used.
#[derive(Debug, Error)]
pub enum Web3Error {
    /// Not there, or others can read it.
    #[error("cannot use the EVM keystore file")]
    File(#[source] FileError),
    /// Not what this program reads.
    #[error("the EVM keystore file is none of version 3 with aes-128-ctr and scrypt or PBKDF2: {0} cannot be read")]
    Form(&'static str),
    /// The check fails.
    #[error("wrong passphrase of the EVM keystore file, or it was changed")]
    Passphrase,
    /// Another key than that of the account that it names.
    #[error("the EVM keystore file was changed: its key is not that of account {address}, which it names")]
    OtherAccount {
        /// What it names.
        address: Address,
    },
}

#[cfg(test)]
mod tests {
    use super::*;

    fn open(bytes: &[u8], passphrase: &Passphrase) -> Result<PrivateKeySigner, Web3Error> {
        Web3File::parse(bytes)?.open(passphrase)
    }

    /// Both test vectors of the definition: the key 7a28… under "testpassword".
    const PBKDF2: &str = r#"{"crypto":{"cipher":"aes-128-ctr","cipherparams":{"iv":"6087dab2f9fdbbfaddc31a909735c1e6"},
        "ciphertext":"5318b4d5bcd28de64ee5559e671353e16f075ecae9f99c7a79a38af5f869aa46","kdf":"pbkdf2",
        "kdfparams":{"c":262144,"dklen":32,"prf":"hmac-sha256",
        "salt":"ae3cd4e7013836a3df6bd7241b12db061dbe2c6785853cce422d148a624ce0bd"},
        "mac":"517ead924a9d0dc3124507e3393d175ce3ff7c1e96529c6c555ce9e51205e9b2"},
        "id":"3198bc9c-6672-5ab3-d995-4942343ae5b6","version":3}"#;
    const SCRYPT: &str = r#"{"crypto":{"cipher":"aes-128-ctr","cipherparams":{"iv":"83dbcc02d8ccb40e466191a123791e0e"},
        "ciphertext":"d172bf743a674da9cdad04534d56926ef8358534d458fffccd4e6ad2fbde479c","kdf":"scrypt",
        "kdfparams":{"dklen":32,"n":262144,"p":8,"r":1,
        "salt":"ab0c7876052600dd703518d6fc3fe8984592145b591fc8fb5c6d43190334ba19"},
        "mac":"2103ac29920d71da29f15d75b4a16dbe95cfd7ff8faea1056c33131d846e3097"},
        "id":"3198bc9c-6672-5ab3-d995-4942343ae5b6","version":3}"#;
    const KEY: &str = "7a28b5ba57c53603b0b07b56bba752f7784bf506fa95edc395f5cf6c7514fe9d";

    #[test]
    fn files_that_are_none_should_be_refused() {
        let right = Passphrase::new("testpassword");
        for (part, other) in [
            ("\"version\":3", "\"version\":4"),
            ("aes-128-ctr", "aes-128-cbc"),
            ("\"dklen\":32", "\"dklen\":16"),
            ("hmac-sha256", "hmac-sha512"),
            ("\"c\":262144", "\"c\":0"),
            ("\"c\":262144", "\"c\":4000000000"),
            ("\"kdf\":\"pbkdf2\"", "\"kdf\":\"none\""),
        ] {
            let wrong = open(PBKDF2.replace(part, other).as_bytes(), &right).expect_err(part);
            assert!(matches!(wrong, Web3Error::Form(_)), "{part}: {wrong}");
        }
        for (part, other) in
            [("262144", "262143"), ("262144", "1099511627776"), ("\"r\":1", "\"r\":0"), ("\"p\":8", "\"p\":99")]
        {
            let wrong = open(SCRYPT.replace(part, other).as_bytes(), &right).expect_err(part);
            assert!(matches!(wrong, Web3Error::Form("`crypto.kdfparams`")), "{part}: {wrong}");
        }
        let quick = PBKDF2.replace("262144", "1");
        assert!(matches!(open(quick.as_bytes(), &right), Err(Web3Error::Passphrase)));
    }

    #[test]
    fn vectors_of_the_definition_should_open() {
        for file in [PBKDF2, SCRYPT] {
            let signer = open(file.as_bytes(), &Passphrase::new("testpassword")).expect("a key");
            assert_eq!(hex::encode(signer.to_bytes()), KEY);
        }
    }

    /// A file that opens quickly.
    fn quick() -> String {
        let kdf = Kdf::Pbkdf2 { dklen: 32, c: 1, prf: "hmac-sha256".into(), salt: vec![7; 32] };
        let key = kdf.derive(&Passphrase::new("testpassword")).expect("a key");
        let (encrypt, check) = key.split_at(16);
        let mut bytes = hex::decode(KEY).expect("hex");
        let address = PrivateKeySigner::from_slice(&bytes).expect("a key").address();
        Ctr128BE::<Aes128>::new_from_slices(encrypt, &[9; 16]).expect("sizes").apply_keystream(&mut bytes);
        let mac = keccak256([check, &bytes].concat());
        format!(
            r#"{{"crypto":{{"cipher":"aes-128-ctr","cipherparams":{{"iv":"{}"}},"ciphertext":"{}","kdf":"pbkdf2",
            "kdfparams":{{"c":1,"dklen":32,"prf":"hmac-sha256","salt":"{}"}},"mac":"{}"}},"version":3,"address":"{}"}}"#,
            "09".repeat(16),
            hex::encode(&bytes),
            "07".repeat(32),
            hex::encode(mac),
            hex::encode(address)
        )
    }

    #[test]
    fn changed_byte_should_never_give_another_account() {
        let (file, right) = (quick(), Passphrase::new("testpassword"));
        let account = open(file.as_bytes(), &right).expect("as it was").address();
        let iv = file.find("0909").expect("the nonce");
        let mut others = 0;
        for place in 0..file.len() {
            for flip in [0x01, 0x04, 0x20] {
                let mut bytes = file.clone().into_bytes();
                bytes[place] ^= flip;
                match open(&bytes, &right) {
                    // Another case of a letter, another space.
                    Ok(signer) => assert_eq!(signer.address(), account, "byte {place}"),
                    Err(Web3Error::OtherAccount { .. }) => others += 1,
                    Err(Web3Error::Form(_) | Web3Error::Passphrase) => {
                        assert!(!(iv..iv + 32).contains(&place) || !bytes[place].is_ascii_digit(), "byte {place}");
                    }
                    Err(Web3Error::File(error)) => panic!("byte {place}: {error}"),
                }
            }
        }
        assert!(others >= 60, "{others}");
    }
}
