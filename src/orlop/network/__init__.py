"""Networks: bridges, endpoints, addresses, published ports, and the rules that join them."""
