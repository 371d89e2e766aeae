# A node is a folder; what its creation does besides is the test's script.
terraform {
  required_version = ">= 1.4"
  backend "http" {}
}

variable "cluster" { type = string }
variable "region" { type = string }
variable "shape" { type = string }
variable "nodes" { type = number }
variable "software_version" {
  type    = string
  default = null
}
variable "capacity_bytes" {
  type    = string
  default = null
}
variable "labels" {
  type    = map(string)
  default = {}
}
variable "token" {
  type      = string
  sensitive = true
  default   = "none"
}

resource "terraform_data" "node" {
  for_each         = toset([var.cluster])
  input            = { cluster = each.key, token = var.token }
  triggers_replace = [var.region]

  provisioner "local-exec" {
    when        = destroy
    command     = "rm -rf \"$TOY_ROOT/$CLUSTER\""
    environment = { CLUSTER = self.input.cluster }
  }
}

resource "terraform_data" "settings" {
  triggers_replace = [terraform_data.node[var.cluster].id, var.shape]

  provisioner "local-exec" {
    command     = "mkdir -p \"$TOY_ROOT/$CLUSTER\" && sh \"$TOY_SCRIPT\""
    environment = { CLUSTER = var.cluster }
  }
}

output "token" {
  value     = var.token
  sensitive = true
}
