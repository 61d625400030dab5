package nats

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/jwt/v2"
	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nkeys"

	"github.com/apmon-go/apmon/internal/testkit"
)

// TestPassword: a wrong password is a failure that does not show it, and with the right one
// the output works.
func TestPassword(t *testing.T) {
	t.Parallel()
	s := serve(t, func(o *server.Options) { o.Username, o.Password = "alice", "hunter2" })
	address := s.Addr().String()
	bad, _, log := start(t, Options{Server: Server{URL: "nats://alice:hunter3@" + address}})
	bad.Offer(packet(datagram("", 1, 1, "C", "N")))
	testkit.Eventually(t, "a failure", func() bool {
		return strings.Contains(strings.ToLower(bad.Stats()[0].Error), "authorization violation")
	})
	good, _, _ := start(t, Options{Server: Server{URL: "nats://alice:hunter2@" + address}})
	good.Offer(packet(datagram("", 1, 1, "C", "N")))
	if st := idle(t, good); st.Sent != 1 || strings.Contains(st.Output, "hunter") {
		t.Errorf("%v", st)
	}
	if text := log.String() + bad.Stats()[0].String(); strings.Contains(text, "hunter") || strings.Contains(text, "alice") {
		t.Errorf("the password is in %s", text)
	}
}

// TestTLS: the files of CA, certificate and key open a server that demands them.
func TestTLS(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	ca, caKey := certificate(t, dir, "ca", nil, nil)
	certificate(t, dir, "server", ca, caKey)
	certificate(t, dir, "client", ca, caKey)
	file := func(name string) string { return filepath.Join(dir, name) }
	pair, err := tls.LoadX509KeyPair(file("server.pem"), file("server.key"))
	if err != nil {
		t.Fatal(err)
	}
	pool := x509.NewCertPool()
	pool.AddCert(ca)
	s := serve(t, func(o *server.Options) {
		o.TLSConfig = &tls.Config{Certificates: []tls.Certificate{pair}, ClientCAs: pool, ClientAuth: tls.RequireAndVerifyClientCert}
		o.TLSVerify = true
	})
	url := "tls://" + s.Addr().String()
	good, _, _ := start(t, Options{Server: Server{URL: url, CA: file("ca.pem"), Cert: file("client.pem"), Key: file("client.key")}})
	good.Offer(packet(datagram("", 1, 1, "C", "N")))
	if st := idle(t, good); st.Sent != 1 {
		t.Errorf("%v", st)
	}
	bad, _, _ := start(t, Options{Server: Server{URL: url, CA: file("ca.pem")}})
	bad.Offer(packet(datagram("", 1, 2, "C", "N")))
	testkit.Eventually(t, "a failure without certificate", func() bool { return bad.Stats()[0].Error != "" })
}

// certificate writes NAME.pem and NAME.key, signed by a parent or, without one, by itself.
func certificate(t *testing.T, dir, name string, parent *x509.Certificate, parentKey *ecdsa.PrivateKey) (*x509.Certificate, *ecdsa.PrivateKey) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(time.Now().UnixNano()),
		Subject:      pkix.Name{CommonName: name},
		NotBefore:    time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}
	if parent == nil {
		template.IsCA, template.BasicConstraintsValid, template.KeyUsage = true, true, x509.KeyUsageCertSign
		parent, parentKey = template, key
	}
	der, err := x509.CreateCertificate(rand.Reader, template, parent, &key.PublicKey, parentKey)
	if err != nil {
		t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	secret, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	for file, block := range map[string]*pem.Block{
		name + ".pem": {Type: "CERTIFICATE", Bytes: der},
		name + ".key": {Type: "PRIVATE KEY", Bytes: secret},
	} {
		if err := os.WriteFile(filepath.Join(dir, file), pem.EncodeToMemory(block), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return cert, key
}

// TestCredentials: a file with a user's JWT and seed opens a server of an operator.
func TestCredentials(t *testing.T) {
	t.Parallel()
	operator, account, system, user := pair(t, nkeys.CreateOperator), pair(t, nkeys.CreateAccount), pair(t, nkeys.CreateAccount), pair(t, nkeys.CreateUser)
	oc := jwt.NewOperatorClaims(operator.public)
	oc.SystemAccount = system.public
	encoded(t, oc, operator)
	ac := jwt.NewAccountClaims(account.public)
	ac.Limits.JetStreamLimits = jwt.JetStreamLimits{MemoryStorage: -1, DiskStorage: -1, Streams: -1, Consumer: -1}
	resolver := new(server.MemAccResolver)
	for public, text := range map[string]string{
		account.public: encoded(t, ac, operator),
		system.public:  encoded(t, jwt.NewAccountClaims(system.public), operator),
	} {
		if err := resolver.Store(public, text); err != nil {
			t.Fatal(err)
		}
	}
	seed, err := user.Seed()
	if err != nil {
		t.Fatal(err)
	}
	text, err := jwt.FormatUserConfig(encoded(t, jwt.NewUserClaims(user.public), account), seed)
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "user.creds")
	if err := os.WriteFile(file, text, 0o600); err != nil {
		t.Fatal(err)
	}
	s := serve(t, func(o *server.Options) {
		o.TrustedOperators, o.SystemAccount, o.AccountResolver = []*jwt.OperatorClaims{oc}, system.public, resolver
	})
	set, _, _ := start(t, Options{Server: Server{URL: s.ClientURL(), Credentials: file}})
	(&source{t: t, set: set}).send(1, oneNode)
	if st := idle(t, set); st.Sent != 1 {
		t.Fatalf("%v", st)
	}
	m := consume(t, ConsumeOptions{Server: Server{URL: s.ClientURL(), Credentials: file}}, nil)
	testkit.Eventually(t, "the datagram", func() bool { return m.count() == 1 })
}

// keyPair is a key of NATS with its public part.
type keyPair struct {
	nkeys.KeyPair
	public string
}

func pair(t *testing.T, create func() (nkeys.KeyPair, error)) keyPair {
	t.Helper()
	k, err := create()
	if err != nil {
		t.Fatal(err)
	}
	public, err := k.PublicKey()
	if err != nil {
		t.Fatal(err)
	}
	return keyPair{k, public}
}

func encoded(t *testing.T, c jwt.Claims, by keyPair) string {
	t.Helper()
	text, err := c.Encode(by.KeyPair)
	if err != nil {
		t.Fatal(err)
	}
	return text
}
