"""VPCs: namespaces, links, firewall, DHCP, DNS and public addresses."""
