module github.com/apmon-go/apmon

go 1.26.0

require (
	charm.land/bubbletea/v2 v2.0.10 // the terminal view of apmon-recv
	github.com/chromedp/cdproto v0.159.2 // tests of the pages in Chromium: its protocol
	github.com/chromedp/chromedp v0.23.0 // tests of the pages in Chromium
	github.com/davecgh/go-xdr v0.0.0-20161123171359-e6a2ba005892 // tests: another XDR codec, to compare with
	github.com/google/go-cmp v0.7.0 // tests: shows how values differ
	github.com/gopacket/gopacket v1.7.7 // apmon-recv reads captures of the network
	github.com/klauspost/compress v1.20.3 // apmon-recv compresses records (zstd, gzip) and answers
	github.com/nats-io/jwt/v2 v2.8.2 // tests: users of a NATS server
	github.com/nats-io/nats-server/v2 v2.15.2 // tests: a real NATS server
	github.com/nats-io/nats.go v1.55.0 // apmon-recv stores datagrams in NATS JetStream, and reads them
	github.com/nats-io/nkeys v0.4.17 // tests: keys of users of a NATS server
	github.com/prometheus/client_golang v1.25.0 // the own metrics of apmon-recv
	github.com/prometheus/common v0.72.0 // formats of metrics, and which one a client accepts
	github.com/prometheus/exporter-toolkit v0.20.0 // TLS and authentication of web servers
	github.com/rogpeppe/go-internal v1.16.0 // tests: scripts that run the commands
	github.com/shirou/gopsutil/v3 v3.24.5 // values of hosts on other systems than Linux
	github.com/urfave/cli/v2 v2.27.7 // flags of the commands
	go.uber.org/goleak v1.3.0 // tests: no goroutine stays behind
	go.yaml.in/yaml/v3 v3.0.6 // the configuration of apmon-recv
	golang.org/x/sys v0.49.0 // system calls
)

require (
	golang.org/x/crypto v0.58.0 // tests: hashes of passwords for web servers
	golang.org/x/net v0.60.0 // indirect
)

require (
	github.com/antithesishq/antithesis-sdk-go v0.8.0-default-no-op // indirect
	github.com/beorn7/perks v1.0.1 // indirect
	github.com/cespare/xxhash/v2 v2.3.0 // indirect
	github.com/charmbracelet/colorprofile v0.4.3 // indirect
	github.com/charmbracelet/ultraviolet v0.0.0-20260703014108-f5a850f9c2b7 // indirect
	github.com/charmbracelet/x/ansi v0.11.7 // indirect
	github.com/charmbracelet/x/term v0.2.2 // indirect
	github.com/charmbracelet/x/termios v0.1.1 // indirect
	github.com/charmbracelet/x/windows v0.2.2 // indirect
	github.com/clipperhouse/displaywidth v0.11.0 // indirect
	github.com/clipperhouse/uax29/v2 v2.7.0 // indirect
	github.com/coreos/go-systemd/v22 v22.7.0 // indirect
	github.com/go-json-experiment/json v0.0.0-20260213210345-44df1a37e875 // indirect
	github.com/golang-jwt/jwt/v5 v5.3.1 // indirect
	github.com/google/go-tpm v0.9.8 // indirect
	github.com/google/uuid v1.6.0 // indirect
	github.com/jpillora/backoff v1.0.0 // indirect
	github.com/lucasb-eyer/go-colorful v1.4.0 // indirect
	github.com/mattn/go-runewidth v0.0.23 // indirect
	github.com/mdlayher/socket v0.6.0 // indirect
	github.com/mdlayher/vsock v1.3.0 // indirect
	github.com/minio/highwayhash v1.0.4 // indirect
	github.com/muesli/cancelreader v0.2.2 // indirect
	github.com/munnerz/goautoneg v0.0.0-20191010083416-a7dc8b61c822 // indirect
	github.com/mwitkow/go-conntrack v0.0.0-20190716064945-2f068394615f // indirect
	github.com/nats-io/nuid v1.0.1 // indirect
	github.com/prometheus/client_model v0.6.3 // indirect
	github.com/prometheus/procfs v0.22.0 // indirect
	github.com/rivo/uniseg v0.4.7 // indirect
	github.com/xo/terminfo v0.0.0-20220910002029-abceb7e1c41e // indirect
	go.yaml.in/yaml/v2 v2.4.4 // indirect
	golang.org/x/oauth2 v0.37.0 // indirect
	golang.org/x/sync v0.24.0 // indirect
	golang.org/x/text v0.43.0 // indirect
	golang.org/x/time v0.16.0 // indirect
	google.golang.org/protobuf v1.36.12 // indirect
)

require (
	github.com/cpuguy83/go-md2man/v2 v2.0.7 // indirect
	github.com/go-ole/go-ole v1.2.6 // indirect
	github.com/lufia/plan9stats v0.0.0-20211012122336-39d0f177ccd0 // indirect
	github.com/power-devops/perfstat v0.0.0-20210106213030-5aafc221ea8c // indirect
	github.com/russross/blackfriday/v2 v2.1.0 // indirect
	github.com/shoenig/go-m1cpu v0.2.4 // indirect; gopsutil asks for v0.1.6, which crashes new Macs before main
	github.com/tklauser/go-sysconf v0.3.12 // indirect
	github.com/tklauser/numcpus v0.6.1 // indirect
	github.com/xrash/smetrics v0.0.0-20240521201337-686a1a2994c1 // indirect
	github.com/yusufpapurcu/wmi v1.2.4 // indirect
	golang.org/x/tools v0.51.0 // indirect
)
