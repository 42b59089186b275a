package fleet

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"math/big"
	"os"
	"strings"
	"time"

	"github.com/nats-io/nkeys"

	"github.com/blockrig/blockrig/harness/cachedir"
)

// A Role is what a key is for.
type Role string

// Roles.
const (
	RoleWorker Role = "worker"
	RoleClient Role = "client"
)

// ErrKey says that a text is no key of a hub's.
var ErrKey = errors.New("it is no key of a hub")

// A Key proves to the hub what its holder is, and tells the hub from others.
type Key struct {
	Role Role
	seed string
	cert string // hex SHA-256 of the hub's certificate
}

// String is the key as it is pasted. It is a secret.
func (k Key) String() string { return string(k.Role) + "." + k.seed + "." + k.cert }

// ParseKey reads what Key.String gave.
func ParseKey(text string) (Key, error) {
	parts := strings.Split(strings.TrimSpace(text), ".")
	if len(parts) != 3 || !digestForm.MatchString(parts[2]) {
		return Key{}, fmt.Errorf("%w: want ROLE.SEED.CERTIFICATE, as serve prints it", ErrKey)
	}
	k := Key{Role(parts[0]), parts[1], parts[2]}
	if k.Role != RoleWorker && k.Role != RoleClient {
		return Key{}, fmt.Errorf("%w: it is for a worker or a client, not for that", ErrKey)
	}
	if _, err := k.pair(); err != nil {
		return Key{}, fmt.Errorf("%w: its seed is none", ErrKey)
	}
	return k, nil
}

func (k Key) pair() (nkeys.KeyPair, error) { return nkeys.FromSeed([]byte(k.seed)) }

// Keys are a hub's.
type Keys struct {
	cert           tls.Certificate
	fingerprint    string
	worker, client string // seeds
	lease          []byte // signs leases
}

// Key is that of a role.
func (k *Keys) Key(r Role) Key {
	seed := k.worker
	if r == RoleClient {
		seed = k.client
	}
	return Key{r, seed, k.fingerprint}
}

// Files of a hub's keys.
const (
	certFile   = "hub.pem"
	workerFile = "worker.key"
	clientFile = "client.key"
	leaseFile  = "lease.key"
)

// OpenKeys gives the keys in a folder; what is missing is made. Nobody else may
// read them.
func OpenKeys(dir string) (_ *Keys, err error) {
	defer func() {
		if err != nil {
			err = fmt.Errorf("the hub's keys: %w", err)
		}
	}()
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		return nil, err
	}
	defer root.Close()
	k := &Keys{}
	pair, err := secret(root, certFile, makeCert)
	if err != nil {
		return nil, err
	}
	if k.cert, err = tls.X509KeyPair(pair, pair); err != nil {
		return nil, fmt.Errorf("%s: %w", certFile, err)
	}
	sum := sha256.Sum256(k.cert.Certificate[0])
	k.fingerprint = hexOf(sum[:])
	for name, to := range map[string]*string{workerFile: &k.worker, clientFile: &k.client} {
		seed, err := secret(root, name, makeSeed)
		if err != nil {
			return nil, err
		}
		*to = strings.TrimSpace(string(seed))
		if _, err := nkeys.FromSeed([]byte(*to)); err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
	}
	if k.lease, err = secret(root, leaseFile, func() ([]byte, error) {
		b := make([]byte, 32)
		rand.Read(b) // never fails (crypto/rand)
		return b, nil
	}); err == nil && len(k.lease) < 32 {
		err = fmt.Errorf("%s: it is too short", leaseFile)
	}
	return k, err
}

// ClientKey is the key of a hub whose keys are in a folder of this user's; the
// error wraps fs.ErrNotExist where there are none.
func ClientKey(dir string) (Key, error) {
	if _, err := os.Stat(dir); err != nil {
		return Key{}, err
	}
	k, err := OpenKeys(dir)
	if err != nil {
		return Key{}, err
	}
	return k.Key(RoleClient), nil
}

// secret reads a file that only its owner can read, or makes it.
func secret(root *os.Root, name string, make func() ([]byte, error)) ([]byte, error) {
	info, err := root.Stat(name)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		b, err := make()
		if err != nil {
			return nil, err
		}
		if err := cachedir.WriteFile(root, name, b); err != nil {
			return nil, err
		}
		return b, root.Chmod(name, 0o600)
	case err != nil:
		return nil, err
	case info.Mode().Perm()&0o077 != 0:
		return nil, fmt.Errorf("%s: others can read it (mode %#o); chmod 600 it, or remove it and all workers' keys with it", name, info.Mode().Perm())
	}
	return root.ReadFile(name)
}

func makeSeed() ([]byte, error) {
	pair, err := nkeys.CreateUser()
	if err != nil {
		return nil, err
	}
	return pair.Seed()
}

// makeCert gives a certificate that signs itself, and its key. Who connects
// knows it by its digest: neither its name nor its time matters.
func makeCert() ([]byte, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 120))
	if err != nil {
		return nil, err
	}
	t := &x509.Certificate{
		SerialNumber: serial, Subject: pkix.Name{CommonName: "blockrig hub"},
		NotBefore: time.Unix(0, 0), NotAfter: time.Date(9999, 12, 31, 0, 0, 0, 0, time.UTC),
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	der, err := x509.CreateCertificate(rand.Reader, t, t, &key.PublicKey, key)
	if err != nil {
		return nil, err
	}
	private, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return nil, err
	}
	var out bytes.Buffer
	for _, b := range []*pem.Block{{Type: "CERTIFICATE", Bytes: der}, {Type: "PRIVATE KEY", Bytes: private}} {
		if err := pem.Encode(&out, b); err != nil {
			return nil, err
		}
	}
	return out.Bytes(), nil
}

// tls is how the hub's holder of the key sees to it that it is the hub.
func (k Key) tls() *tls.Config {
	return &tls.Config{
		MinVersion: tls.VersionTLS13,
		// The certificate is known by its digest, which says more than a name.
		InsecureSkipVerify: true,
		VerifyConnection: func(s tls.ConnectionState) error {
			if len(s.PeerCertificates) > 0 {
				if sum := sha256.Sum256(s.PeerCertificates[0].Raw); hexOf(sum[:]) == k.cert {
					return nil
				}
			}
			return ErrOtherHub
		},
	}
}

// ErrOtherHub says that who answered is not the hub that the key is of.
var ErrOtherHub = errors.New("this is not the hub that the key is of: its certificate is another")
