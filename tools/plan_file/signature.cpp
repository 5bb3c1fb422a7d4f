#include "tools/plan_file/signature.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <fstream>
#include <sstream>
#include <vector>

#include "schema/sha256.h"
#include "tools/plan_file/failure.h"

#if JLLM_SODIUM
#include <sodium.h>
#endif

namespace jllm::tool {

#if JLLM_SODIUM
namespace {

static_assert(crypto_sign_PUBLICKEYBYTES == sizeof(SignatureBlock::public_key));
static_assert(crypto_sign_BYTES == sizeof(SignatureBlock::signature));

constexpr const char* kPublicWord = "jllm-public-key-1";
constexpr const char* kSecretWord = "jllm-secret-key-1";

using PublicKey = std::vector<uint8_t>;

// The secret half, wiped when it goes.
struct SecretKey {
  SecretKey() = default;
  SecretKey(const SecretKey&) = delete;
  SecretKey& operator=(const SecretKey&) = delete;
  ~SecretKey() { sodium_memzero(bytes, sizeof bytes); }
  uint8_t bytes[crypto_sign_SECRETKEYBYTES] = {};
};

void start_library() {
  if (sodium_init() < 0) throw Failure(kFailed, "libsodium could not be started");
}

std::string to_hex(const uint8_t* bytes, size_t size) {
  std::string text(size * 2 + 1, '\0');
  sodium_bin2hex(text.data(), text.size(), bytes, size);
  text.pop_back();
  return text;
}

bool from_hex(const std::string& text, uint8_t* bytes, size_t size) {
  size_t read = 0;
  const char* end = nullptr;
  return sodium_hex2bin(bytes, size, text.data(), text.size(), nullptr, &read, &end) == 0 &&
         read == size && end == text.data() + text.size();
}

std::ifstream open_keys(const std::string& path) {
  std::ifstream file(path);
  if (!file) throw Failure(kFailed, path + ": " + std::strerror(errno));
  return file;
}

// One key a line; lines that begin with # say whose it is.
std::vector<PublicKey> read_public_keys(const std::string& path) {
  std::vector<PublicKey> keys;
  std::ifstream file = open_keys(path);
  for (std::string line; std::getline(file, line);) {
    std::istringstream words(line);
    std::string word, hex;
    words >> word >> hex;
    if (word.empty() || word[0] == '#') continue;
    PublicKey key(crypto_sign_PUBLICKEYBYTES);
    if (word != kPublicWord || !from_hex(hex, key.data(), key.size())) {
      throw Failure(kUsage, path + ": not a file of public keys: jllmc keygen writes NAME.pub");
    }
    keys.push_back(key);
  }
  if (keys.empty()) throw Failure(kUsage, path + ": there is no public key in it");
  return keys;
}

void read_secret_key(const std::string& path, SecretKey* key) {
  std::ifstream file = open_keys(path);
  std::string word, hex;
  file >> word >> hex;
  uint8_t seed[crypto_sign_SEEDBYTES];
  const bool read = word == kSecretWord && from_hex(hex, seed, sizeof seed);
  sodium_memzero(hex.data(), hex.size());
  if (!read) {
    throw Failure(kUsage, path + ": not a secret key: jllmc keygen writes NAME.key");
  }
  uint8_t public_key[crypto_sign_PUBLICKEYBYTES];
  crypto_sign_seed_keypair(public_key, key->bytes, seed);
  sodium_memzero(seed, sizeof seed);
}

struct Signed {
  char context[sizeof kSignatureContext];
  uint8_t digest[Sha256::kDigestBytes];
  const uint8_t* bytes() const { return reinterpret_cast<const uint8_t*>(this); }
};

Signed message_of(const uint8_t* head, uint64_t head_size) {
  Signed message;
  std::memcpy(message.context, kSignatureContext, sizeof message.context);
  Sha256 hash;
  hash.update(head, head_size);
  hash.finish(message.digest);
  return message;
}

void write_new(const std::string& path, const std::string& text, mode_t mode) {
  const int fd = ::open(path.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, mode);
  if (fd < 0) {
    throw Failure(kFailed, path + ": " + std::strerror(errno) +
                               (errno == EEXIST ? "; a key is never written over" : ""));
  }
  const bool written = ::write(fd, text.data(), text.size()) == static_cast<ssize_t>(text.size());
  const bool safe = written && fsync(fd) == 0;
  ::close(fd);
  if (!safe) throw Failure(kFailed, path + ": cannot be written");
}

}  // namespace

bool can_sign() { return true; }

void check_signature(const std::string& path, const uint8_t* head, uint64_t head_size,
                     const SignatureBlock& block, const std::string& key_file) {
  start_library();
  const std::vector<PublicKey> keys = read_public_keys(key_file);
  if (block.magic != kSignatureMagic || block.version != kSignatureVersion) {
    throw Failure(kInvalidFile, path + ": the signature is damaged");
  }
  const Signed message = message_of(head, head_size);
  for (const PublicKey& key : keys) {
    if (std::memcmp(key.data(), block.public_key, key.size()) != 0) continue;
    if (crypto_sign_verify_detached(block.signature, message.bytes(), sizeof message, key.data()) ==
        0) {
      return;
    }
    throw Failure(kInvalidFile, path + ": the plan was altered after it was signed");
  }
  throw Failure(kInvalidFile, path + ": signed with another key (" +
                                  to_hex(block.public_key, sizeof block.public_key) +
                                  ") than those in " + key_file);
}

void make_keys(const std::string& name) {
  start_library();
  uint8_t seed[crypto_sign_SEEDBYTES];
  uint8_t public_key[crypto_sign_PUBLICKEYBYTES];
  SecretKey secret;
  randombytes_buf(seed, sizeof seed);
  crypto_sign_seed_keypair(public_key, secret.bytes, seed);
  std::string text = std::string(kSecretWord) + " " + to_hex(seed, sizeof seed) + "\n";
  write_new(name + ".key", text, 0600);
  sodium_memzero(text.data(), text.size());
  sodium_memzero(seed, sizeof seed);
  write_new(name + ".pub",
            std::string(kPublicWord) + " " + to_hex(public_key, sizeof public_key) + "\n", 0644);
}

SignatureBlock sign_head(const uint8_t* head, uint64_t head_size, const std::string& key_file) {
  start_library();
  SecretKey secret;
  read_secret_key(key_file, &secret);
  SignatureBlock block = {};
  block.magic = kSignatureMagic;
  block.version = kSignatureVersion;
  crypto_sign_ed25519_sk_to_pk(block.public_key, secret.bytes);
  const Signed message = message_of(head, head_size);
  crypto_sign_detached(block.signature, nullptr, message.bytes(), sizeof message, secret.bytes);
  return block;
}

#else

namespace {
[[noreturn]] void refuse() {
  throw Failure(
      kUnsupported,
      "this program was built without signatures: install libsodium-dev and build it again "
      "with -DJLLM_SIGNATURES=ON");
}
}  // namespace

bool can_sign() { return false; }
void check_signature(const std::string&, const uint8_t*, uint64_t, const SignatureBlock&,
                     const std::string&) {
  refuse();
}
void make_keys(const std::string&) { refuse(); }
SignatureBlock sign_head(const uint8_t*, uint64_t, const std::string&) { refuse(); }

#endif

}  // namespace jllm::tool
