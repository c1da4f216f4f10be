"""Keys of outside services, and the filter that keeps them out of everything printed or stored."""
