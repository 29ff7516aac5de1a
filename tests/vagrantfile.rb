# Evaluate a Vagrantfile with a recorder in Vagrant's place, and print what it sets: for providers that are not installed here.
require "json"

class Recorder < BasicObject
  def initialize
    @set = {}
  end

  def method_missing(name, *values, **options, &block)
    key = name.to_s
    if key.end_with?("=")
      @set[key.chomp("=")] = values.first
    elsif block # a provider's or a trigger's
      (@set[key] ||= {})[values.join(" ")] = ::Recorder.of(&block)
    elsif values.empty? && options.empty?
      @set[key] ||= ::Recorder.new # a namespace: config.vm, vmware.vmx
    else
      (@set[key] ||= []) << [*values, options]
    end
  end

  def []=(key, value)
    @set[key] = value
  end

  def to_json(*state)
    @set.to_json(*state)
  end

  def self.of(&block)
    recorders = ::Array.new(block.arity) { ::Recorder.new }
    block.call(*recorders)
    recorders.size == 1 ? recorders.first : recorders
  end
end

module Vagrant
  def self.configure(version, &block)
    puts Recorder.of(&block).to_json
  end
end

load ARGV.first
