// A webhook that adds to a StatefulSet what stellar-peers adds where the list is mounted, as operators in Go write
// one: typed objects, a decoder, and the patch as the difference of two JSON texts. `make bench` measures it beside
// stellar-peers.
package main

import (
	"flag"
	"os"
	"strings"

	appsv1 "k8s.io/api/apps/v1"
	"k8s.io/apimachinery/pkg/runtime"
	utilruntime "k8s.io/apimachinery/pkg/util/runtime"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/log/zap"
	"sigs.k8s.io/controller-runtime/pkg/webhook"
	"sigs.k8s.io/controller-runtime/pkg/webhook/admission"
)

func main() {
	var port, peerPort int
	var certDir, members string
	flag.IntVar(&port, "port", 9443, "where it listens, on 127.0.0.1")
	flag.StringVar(&certDir, "cert-dir", "", "folder of tls.crt and tls.key")
	flag.IntVar(&peerPort, "peer-port", 11625, "the peer port of all validators")
	flag.StringVar(&members, "members", "", "names of the members, with commas between them")
	flag.Parse()

	ctrl.SetLogger(zap.New())
	log := ctrl.Log.WithName("setup")

	scheme := runtime.NewScheme()
	utilruntime.Must(appsv1.AddToScheme(scheme))
	server := webhook.NewServer(webhook.Options{Host: "127.0.0.1", Port: port, CertDir: certDir})
	server.Register("/mutate", &webhook.Admission{Handler: &injector{
		decoder:  admission.NewDecoder(scheme),
		members:  strings.Split(members, ","),
		peerPort: int32(peerPort),
	}})
	if err := server.Start(ctrl.SetupSignalHandler()); err != nil {
		log.Error(err, "Could not serve")
		os.Exit(1)
	}
}
